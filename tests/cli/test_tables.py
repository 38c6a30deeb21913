from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from recsim_tasks.cli import tables
from recsim_tasks.contracts import (
    FeedReleaseResult,
    Freeze,
    Lag,
    OnHoldRecord,
    ProductionPeriod,
    QuarantinedRow,
    QuarantineResult,
    QueryResult,
    ReleasesResult,
    RowReason,
    StatusResult,
)

ODD = [
    *("[slim fit] shirt", "[/sale]", "[bold]b[/bold]", "<b>", "**x**", "$a$", "\x1b[31mred", "a\rb\nc"),
    *("\\[x]", "trailing\\", ":smile:", "[link=http://x]y[/link]"),
]
SHOWN = [*ODD[:6], r"\x1b[31mred", r"a\rb\nc", *ODD[8:]]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


def row(text: str) -> dict[str, Any]:
    return {
        "product_id": text,
        "score": 0.5,
        "category": text,
        "title": text,
        "price": None,
        "in_stock": None,
    }


@pytest.mark.parametrize(("text", "shown"), list(zip(ODD, SHOWN, strict=True)))
def test_every_table_shows_text_of_feeds_letter_by_letter(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(text), {**row(text), "category": None, "title": None}]
    tables.show_neighbours(QueryResult(release=1, results=rows))
    assert printed(capsys).count(shown) == 4
    reason = RowReason(reason=text, rows=3, example=text)
    hold = OnHoldRecord(feed_id=text, digest="d", at=0.0, row_reasons=[reason])
    quarantined = QuarantinedRow(
        feed_id=text,
        product_id=text,
        reason=text,
        row=text,
        at=datetime(2026, 1, 2, tzinfo=UTC),
        released_by=text,
        released_at=None,
    )
    tables.show_quarantine(
        QuarantineResult(rows=1, by_reason={text: 1}, newest=[quarantined], on_hold=[hold])
    )
    assert printed(capsys).count(shown) == 8
    frozen = Freeze(by=text, through="cli", at=0.0, reason=text, release=1, to=2)
    tables.show_status(StatusResult(champion=None, head=None, behind=None, frozen=frozen, problem=text))
    assert printed(capsys).count(shown) == 3
    period = ProductionPeriod.model_validate(
        {"version": 1, "from": 0.0, "to": None, "by": text, "through": text, "why": text}
    )
    tables.show_releases(ReleasesResult(releases=[period]))
    assert printed(capsys).count(shown) == 3
    tables.show_feed_release(
        FeedReleaseResult(feed_id=text, catalogue_version=None, taken_in=None, first_served=None)
    )
    assert printed(capsys).count(shown) == 1


def test_the_status_of_a_catalogue_that_was_created_again_has_no_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lag = Lag(versions=None, seconds=None)
    tables.show_status(StatusResult(champion=None, head=None, behind=lag, frozen=None, problem=None))
    shown = printed(capsys)
    assert "the catalogue was created again since" in shown
    assert "None" not in shown
