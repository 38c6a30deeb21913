"""What a person says of a feed that a guard holds, and what becomes of the feed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsim_demo.dataset import FashionMnist
from recsim_demo.feeds import deliver, upsert
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.delta.writer import told_by_commits
from recsim_tasks.catalogue.feeds.decisions import Answer, answer_of
from recsim_tasks.catalogue.feeds.inbox import ingest_inbox
from recsim_tasks.catalogue.feeds.ingest import Order, ingest_feed
from recsim_tasks.catalogue.feeds.quarantine import quarantined
from recsim_tasks.foundation.errors import InputError, OnHoldError
from recsim_tasks.foundation.settings import Settings

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(fashion_mnist: FashionMnist) -> Rows:
    return [upsert(n, "shoe", fashion_mnist.train_images[n]) for n in range(30)]


def test_one_answer_is_given_by_id_or_by_the_beginning_of_the_digest() -> None:
    answer = answer_of("night", None, "ann")
    assert answer == Answer("night", accepts=True, by="ann")
    assert answer.means("night", "0" * 64)
    assert Answer("0" * 8, True, "ann").means("night", "0" * 64)
    assert not Answer("0" * 7, True, "ann").means("night", "0" * 64)
    assert answer_of(None, None, "ann") is None
    with pytest.raises(InputError, match="either accepted or refused"):
        answer_of("night", "night", None)


@pytest.mark.spark
@pytest.mark.usefixtures("shared_spark")
def test_a_held_feed_waits_in_the_inbox_with_those_behind_it_until_it_is_answered(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    ingest_feed(settings, deliver(tmp_path, "one", rows, "one"))
    before = head(settings.products_uri)
    broken = deliver(settings.inbox_dir, "broken", [{**row, "image": b"bad"} for row in rows], "broken")
    few = deliver(settings.inbox_dir, "few", rows[:10], "few", full=True)
    with pytest.raises(OnHoldError, match="30 of 30 rows that cannot be taken") as held:
        ingest_inbox(settings)
    assert held.value.result["held"]["feed_id"] == "broken"
    assert (broken.exists(), few.exists(), head(settings.products_uri)) == (True, True, before)

    with pytest.raises(OnHoldError, match=r"20 of 30 products \(67%\)") as held:
        ingest_inbox(settings, answer=Answer("broken", accepts=False, by="ann"))
    note = json.loads(next((settings.inbox_dir / ".refused").glob("*-broken/note.json")).read_text())
    assert (note["by"], note["feed_id"], note["at"] > 0) == ("ann", "broken", True)
    (figure,) = held.value.result["held"]["figures"]
    assert (figure["guard"], figure["value"], figure["limit"]) == (
        "max_withdrawn_share",
        0.6667,
        settings.max_withdrawn_share,
    )

    digest = held.value.result["held"]["digest"]
    result = ingest_inbox(settings, Order(refresh="r7"), Answer(digest, accepts=True, by="bob"))
    assert (result["deleted"], result["applied"], few.exists()) == (20, True, False)
    told = told_by_commits(settings.products_uri)[0]
    assert (told["feed_id"], told["refresh"], told["accepted"]["by"]) == ("few", "r7", "bob")
    assert told["accepted"]["at"] > 0
    # The same answer again, after a try that came through and was cut off before it could say so.
    assert ingest_inbox(settings, answer=Answer(digest, accepts=True, by="bob"))["applied"] is False
    with pytest.raises(InputError, match="'other'"):
        ingest_inbox(settings, answer=Answer("other", accepts=True, by="bob"))


@pytest.mark.spark
@pytest.mark.usefixtures("shared_spark")
def test_a_good_row_releases_and_another_delivery_under_the_same_id_is_refused(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    first = ingest_feed(
        settings, deliver(tmp_path, "one", [rows[0], {**rows[1], "image": rows[1]["image"][:60]}], "one")
    )
    assert (first["quarantined"], first["quarantined_share"]) == (1, 0.5)
    (waiting,) = quarantined(settings, "one", None, False, 10)["newest"]
    assert (waiting["product_id"], "does not decode" in waiting["reason"]) == (rows[1]["product_id"], True)
    assert json.loads(waiting["row"])["title"] == rows[1]["title"]

    ingest_feed(settings, deliver(tmp_path, "two", [rows[1]], "two"))
    assert quarantined(settings, None, None, False, 10)["rows"] == 0
    (released,) = quarantined(settings, None, rows[1]["product_id"], True, 10)["newest"]
    assert (released["released_by"], released["released_at"] is not None) == ("two", True)
    before = head(settings.products_uri)
    with pytest.raises(InputError, match="used once"):
        ingest_feed(settings, deliver(tmp_path / "again", "two", rows[:3], "two"))
    assert head(settings.products_uri) == before
