from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_tasks.foundation.text import folder_name, is_one_line, one_line

ANY = st.text(st.characters(exclude_categories=()), max_size=300)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Sneaker, weiß ✓ 鞋 [bold]", "Sneaker, weiß ✓ 鞋 [bold]"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        (b"lone\xff".decode("utf-8", "surrogateescape"), r"lone\udcff"),
        ("a\u2028b", r"a\u2028b"),
        (None, "None"),
    ],
)
def test_a_line_shows_what_would_move_a_terminal_as_its_escape(text: object, shown: str) -> None:
    assert one_line(text) == shown


@given(ANY)
def test_every_text_becomes_one_line_that_can_be_written(text: str) -> None:
    line = one_line(text)
    assert is_one_line(line)
    assert len(line.encode().splitlines()) <= 1
    assert json.loads(json.dumps(line)) == line


ALIKE = [
    "nightly:1",
    "nightly+1",
    "nightly-1",
    "Nightly-1",
    "nightly 1",
    "nightly-1 ",
    "nightly-1-3ecb4a5e2b0c",
    "..",
    ".",
    "...",
    "",
    "x",
    "a" * 300,
    "a" * 301,
    "ü" * 200,
]


def test_texts_that_look_alike_have_folders_of_their_own_also_where_case_does_not_count() -> None:
    made = {folder_name(text) for text in ALIKE}
    texts = {*ALIKE, *made}  # a name that was made may be an id as well
    names = {text: folder_name(text).lower() for text in texts}
    assert len(set(names.values())) == len(texts)
    assert all(
        len(name.encode()) < 200 and "/" not in name and not name.startswith(".") for name in names.values()
    )


@given(ANY, ANY)
def test_no_two_texts_share_a_folder(one: str, other: str) -> None:
    assert one == other or folder_name(one).lower() != folder_name(other).lower()


def test_a_run_id_of_airflow_can_be_read_in_the_name_of_its_folder() -> None:
    assert folder_name("nightly-1") == "nightly-1"
    assert folder_name("manual__2026-11-27T02:00:00+00:00").startswith("manual__2026-11-27T02-00-00-00-00-")
