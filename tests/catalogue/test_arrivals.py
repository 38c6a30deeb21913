from __future__ import annotations

import json
from pathlib import Path

import pytest
from upath import UPath

from recsim_tasks.catalogue.arrivals import APPLIED, REFUSED, at_hand, move_aside, notes
from recsim_tasks.catalogue.feed import closed_feeds, open_feed
from recsim_tasks.foundation.settings import Settings


@pytest.fixture(params=["folder", "object store"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Path | UPath:
    where = tmp_path / "inbox" if request.param == "folder" else UPath(f"memory://{tmp_path.name}/inbox")
    for name in ("a", "b"):
        (where / name).mkdir(parents=True)
        (where / name / "products.csv").write_text("product_id\nx\n")
        (where / name / "manifest.json").write_text(json.dumps({"feed_id": name, "rows": 1}))
    return where


def test_a_feed_is_read_on_this_machine_wherever_it_lies(settings: Settings, inbox: Path | UPath) -> None:
    first, _ = closed_feeds(inbox)  # type: ignore[arg-type]
    with at_hand(settings, first) as here:
        assert open_feed(here).source.read_text() == "product_id\nx\n"
        copied = here if not isinstance(first, Path) else None
    assert copied is None or not copied.exists()


def test_a_feed_that_was_moved_aside_is_no_feed_of_the_inbox_any_more(inbox: Path | UPath) -> None:
    first, second = closed_feeds(inbox)  # type: ignore[arg-type]
    move_aside(first, APPLIED)
    move_aside(second, REFUSED, {"reason": "bad"})
    assert closed_feeds(inbox) == []  # type: ignore[arg-type]
    assert notes(inbox, REFUSED) == [{"reason": "bad"}]
    assert notes(inbox, APPLIED) == []
    (applied,) = (inbox / APPLIED).iterdir()
    assert (applied / "products.csv").read_text() == "product_id\nx\n"
