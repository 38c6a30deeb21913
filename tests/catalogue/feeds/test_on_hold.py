from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from recsim_tasks.catalogue.feeds.feed import Feed, open_feed
from recsim_tasks.catalogue.feeds.on_hold import (
    VALUE,
    accept,
    clear_hold,
    feeds_on_hold,
    put_on_hold,
    record_hold,
)
from recsim_tasks.contracts import GuardViolation, IngestResult, RowReason
from recsim_tasks.foundation.settings import Settings

REASON = RowReason(reason="price … is not a number", rows=3, example="p1: price 'x' is not a number")


VIOLATION = GuardViolation(
    guard="max_withdrawn_share", value=0.6, limit=0.5, sentence="The feed would withdraw 6 of 10 products."
)


def deliver(folder: Path) -> Feed:
    folder.mkdir()
    (folder / "products.csv").write_text("product_id\nx\n")
    (folder / "manifest.json").write_text(json.dumps({"feed_id": folder.name, "rows": 1}))
    return open_feed(folder)


def test_the_error_of_a_hold_states_why_and_how_to_decide(settings: Settings, tmp_path: Path) -> None:
    feed = deliver(tmp_path / "one")
    error = put_on_hold(settings, feed, [VIOLATION], [REASON])
    assert str(error).startswith(
        "Feed one is on hold. The feed would withdraw 6 of 10 products. "
        "Most frequent reasons of invalid rows: "
        "3 rows: price … is not a number (p1: price 'x' is not a number). Nothing was written. Accept it"
    )
    result = IngestResult.model_validate(error.result)
    assert result.summary == "one is on hold: The feed would withdraw 6 of 10 products."
    assert result.on_hold is not None
    assert (result.on_hold.digest, result.on_hold.figures) == (feed.digest, [VIOLATION])
    assert [record.feed_id for record in feeds_on_hold(settings)] == ["one"]


def test_an_acceptance_names_the_person_and_the_guards() -> None:
    acceptance = accept("ada", [VIOLATION])
    assert (acceptance.by, acceptance.guards) == ("ada", ["max_withdrawn_share"])


def test_a_hold_is_recorded_until_it_is_cleared(settings: Settings, tmp_path: Path) -> None:
    for name in ("one", "two"):
        record_hold(settings, deliver(tmp_path / name), [REASON])
    (settings.home / "on_hold" / "broken.json").write_text("[1]")
    assert [record.feed_id for record in feeds_on_hold(settings)] == ["two", "one"]
    (record,) = feeds_on_hold(settings, "one")
    assert record.row_reasons == [REASON]
    clear_hold(settings, "one")
    clear_hold(settings, "one")
    assert [record.feed_id for record in feeds_on_hold(settings)] == ["two"]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("price 'a\\'b' is not a number", "price … is not a number"),
        ('title "it\'s" is not valid text', "title … is not valid text"),
        ("title has 10,001 characters, more than 10,000", "title has … characters, more than … "),
    ],
)
def test_reasons_are_grouped_without_their_values(reason: str, kind: str) -> None:
    assert re.sub(VALUE, "…", reason) == kind.strip()
