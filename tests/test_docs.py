"""The docs say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs.generate import TABLES, generated

from recsim_tasks.foundation.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
CODE = ("src", "plugins", "dags", "tests", "benchmarks", "docs", ".ci")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", TABLES)
def test_generated_tables_are_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text() == generated(page), "run `make docs`"


@pytest.mark.parametrize("page", TABLES)
def test_a_table_that_is_out_of_date_would_be_noticed(page: str) -> None:
    text = (ROOT / page).read_text()
    for table in TABLES[page].values():
        assert table().splitlines()[-1] in text
        assert len(table().splitlines()) > 20


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    known = {f"RECSIM_{setting.upper()}" for setting in Settings.model_fields} | {
        "RECSIM_CONFIG",
        "RECSIM_PARENT_PID",
    }
    assert set(re.findall(r"`(RECSIM_[A-Z_]+)`", page.read_text())) - known == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^|&& |\$ )make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_python_file_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?<![\w/.])[a-z_]+(?:/[a-z_]+)*\.py\b", page.read_text()))
    paths = [f"/{name(path)}" for folder in CODE for path in ROOT.glob(f"{folder}/**/*.py")]
    assert [file for file in named if not any(path.endswith(f"/{file}") for path in paths)] == []
