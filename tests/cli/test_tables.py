from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from recsim_tasks.cli import tables
from recsim_tasks.contracts import HoldRecord, QuarantinedRow, QuarantineResult, RowReason

ODD = ["[slim fit] shirt", "[/sale]", "[bold]b[/bold]", "<b>", "**x**", "$a$", "\x1b[31mred", "a\rb\nc", "\\[x]", "trailing\\", ":smile:", "[link=http://x]y[/link]"]  # fmt: skip
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
    tables.show_neighbours(
        {"release": 1, "results": [row(text), {**row(text), "category": None, "title": None}]}
    )
    assert printed(capsys).count(shown) == 4
    reason = RowReason(reason=text, rows=3, example=text)
    hold = HoldRecord(feed_id=text, digest="d", at=0.0, row_reasons=[reason])
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
    frozen = {"by": text, "at": 0.0, "reason": text}
    tables.show_status({"champion": None, "head": None, "behind": None, "held": frozen, "problem": text})
    assert printed(capsys).count(shown) == 3
    tables.show_releases(
        {"releases": [{"version": 1, "from": 0.0, "to": None, "by": text, "through": text, "why": text}]}
    )
    assert printed(capsys).count(shown) == 3
    tables.show_releases({"feed_id": text, "taken_in": None, "first_served": None})
    assert printed(capsys).count(shown) == 1
