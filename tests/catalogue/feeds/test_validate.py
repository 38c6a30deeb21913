from __future__ import annotations

import base64
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from catalogue.image_files import SIX, encoded, exif, product
from recsim_tasks.catalogue.feeds import validate
from recsim_tasks.catalogue.feeds.rows import RAW_COLUMNS
from recsim_tasks.foundation.errors import UnavailableError

WHOLE = encoded(product())


def record(**cells: Any) -> dict[str, Any]:
    return {**dict.fromkeys((*RAW_COLUMNS, "image")), "product_id": "p1", **cells}


def examined(**cells: Any) -> dict[str, Any]:
    return validate._row(record(**cells), Path("/nowhere"), 10_000)


@pytest.mark.parametrize(
    "error",
    [TypeError("float at 0x7f00aa"), KeyError(282), MemoryError(), RecursionError("deep"), AssertionError()],
)
def test_whatever_one_row_raises_is_its_reason(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(validate, "take", fail)
    row = examined(title="Boot", image=WHOLE)
    assert row["reason"].startswith(f"the row cannot be examined: {type(error).__name__}")
    assert "0x" not in row["reason"]
    assert (row["product_id"], row["image"], json.loads(row["row"])) == (
        "p1",
        WHOLE,
        {"product_id": "p1", "title": "Boot"},
    )


def test_an_ending_of_the_process_is_no_reason_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(validate, "take", fail)
    with pytest.raises(KeyboardInterrupt):
        examined()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.ESTALE])
def test_what_the_machine_lacks_is_no_reason_of_a_row(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(b"never read")

    def fails_with(code: int) -> None:
        def read_bytes(path: Path) -> bytes:
            raise OSError(code, os.strerror(code), str(path))

        monkeypatch.setattr(Path, "read_bytes", read_bytes)

    fails_with(number)
    with pytest.raises(UnavailableError, match=str(tmp_path)):
        validate._row(record(image_path="a.png"), tmp_path, 10_000)
    fails_with(errno.EIO)
    assert (
        "image_path 'a.png' cannot be read"
        in validate._row(record(image_path="a.png"), tmp_path, 10_000)["reason"]
    )


def test_an_image_with_a_resolution_as_text_is_taken() -> None:
    odd = encoded(product(), "JPEG", exif=b"Exif\0\0" + exif([SIX, (0x011A, 2, 3, b"72\0\0")]))
    for cells in ({"image": odd}, {"image_base64": base64.b64encode(odd).decode()}):
        row = examined(**cells)
        assert (row["reason"], row["image"]) == (None, odd)


@pytest.mark.parametrize(
    "field", [{"title": "\ud800"}, {"price": 10**400}, {"updated_at": 2**70}, {"in_stock": "x"}]
)
def test_a_row_that_arrow_cannot_hold_is_put_aside_and_those_beside_it_are_kept(
    field: dict[str, Any],
) -> None:
    rows = [{"number": n, "product_id": f"p{n}", "image": b"x", "row": None} for n in range(3)]
    kept = validate._batch([rows[0], {**rows[1], **field}, rows[2]]).to_pylist()
    assert [row["product_id"] for row in kept] == ["p0", None, "p2"]
    assert "the row cannot be kept" in kept[1]["reason"]
    assert json.loads(kept[1]["row"])["product_id"] == "p1"


def test_the_arrow_batch_of_good_rows_holds_all_their_fields() -> None:
    row = {
        "number": 7,
        **examined(title="Boot", price="9.5", in_stock="1", updated_at="2026-11-24", image=WHOLE),
    }
    kept = validate._batch([row]).to_pylist()[0]
    assert {name: kept[name] for name in row} == row


def test_a_reason_that_is_cut_within_the_credentials_of_an_address_shows_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("x" * 150 + " at https://ada:" + "swordfish" * 20 + "@shop.example")

    monkeypatch.setattr(validate, "take", fail)
    assert "swordfish" not in examined()["reason"]


@pytest.mark.parametrize(
    "address",
    [
        "https://ada:swordfish@shop.example/a.jpg",
        "https://b.s3.amazonaws.com/a.jpg?X-Amz-Signature=swordfish",
    ],
)
@pytest.mark.parametrize(
    "cells", [{"image_path": "{}"}, {"fault": "the line ends early: {}", "copy": "p1,{}"}]
)
def test_neither_reason_nor_copy_of_a_row_keeps_the_credentials_of_an_address(
    address: str, cells: dict[str, str]
) -> None:
    row = examined(**{name: text.format(address) for name, text in cells.items()})
    assert "shop.example" in row["row"] or "amazonaws" in row["row"]
    assert "***" in row["row"]
    assert "swordfish" not in row["reason"] + row["row"]
