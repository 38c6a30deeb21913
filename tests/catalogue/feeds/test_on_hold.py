from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from recsim_tasks.catalogue.feeds.feed import open_feed
from recsim_tasks.catalogue.feeds.on_hold import VALUE, clear_hold, feeds_on_hold, record_hold
from recsim_tasks.contracts import RowReason
from recsim_tasks.foundation.settings import Settings

REASON = RowReason(reason="price … is not a number", rows=3, example="p1: price 'x' is not a number")


def test_a_hold_is_recorded_until_it_is_cleared(settings: Settings, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "products.csv").write_text("product_id\nx\n")
        (tmp_path / name / "manifest.json").write_text(json.dumps({"feed_id": name, "rows": 1}))
        record_hold(settings, open_feed(tmp_path / name), [REASON])
    (settings.home / "held" / "broken.json").write_text("[1]")
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
