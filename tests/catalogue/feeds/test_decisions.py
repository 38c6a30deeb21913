"""A person decides about a feed on hold, and the decision is carried out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import FeedRow, deliver, upsert
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.delta.writer import recent_commit_metadata
from recsim_tasks.catalogue.feeds.decisions import FeedDecision, parse_decision
from recsim_tasks.catalogue.feeds.inbox import ingest_inbox
from recsim_tasks.catalogue.feeds.ingest import IngestRequest, ingest_feed
from recsim_tasks.contracts import Acceptance, IngestResult
from recsim_tasks.foundation.errors import InputError, OnHoldError
from recsim_tasks.foundation.settings import Settings

Rows = list[FeedRow]


@pytest.fixture
def rows(fashion_mnist: FashionMnist) -> Rows:
    return [upsert(n, "shoe", fashion_mnist.train_images[n]) for n in range(30)]


def accept(feed: str, by: str = "bob", refresh: str | None = None) -> IngestRequest:
    return IngestRequest(refresh=refresh, decision=FeedDecision(feed=feed, accepts=True, by=by))


def refuse(feed: str, by: str) -> IngestRequest:
    return IngestRequest(decision=FeedDecision(feed=feed, accepts=False, by=by))


def test_a_decision_names_its_feed_by_id_or_by_the_start_of_its_digest() -> None:
    decision = parse_decision("night", None, "ann")
    assert decision == FeedDecision(feed="night", accepts=True, by="ann")
    assert decision.matches("night", "0" * 64)
    assert FeedDecision(feed="0" * 8, accepts=True, by="ann").matches("night", "0" * 64)
    assert not FeedDecision(feed="0" * 7, accepts=True, by="ann").matches("night", "0" * 64)
    assert parse_decision(None, None, "ann") is None
    with pytest.raises(InputError, match="either accepted or refused"):
        parse_decision("night", "night", None)


@pytest.mark.spark
@pytest.mark.usefixtures("shared_spark")
def test_a_feed_on_hold_stays_in_the_inbox_with_those_behind_it_until_a_decision(
    settings: Settings, tmp_path: Path, rows: Rows
) -> None:
    ingest_feed(settings, deliver(tmp_path, "one", rows, "one"))
    before = head(settings.products_uri)
    broken = deliver(settings.inbox_dir, "broken", [{**row, "image": b"bad"} for row in rows], "broken")
    few = deliver(settings.inbox_dir, "few", rows[:10], "few", full=True)
    with pytest.raises(OnHoldError, match="30 invalid rows of 30") as caught:
        ingest_inbox(settings)
    assert caught.value.result["on_hold"]["feed_id"] == "broken"
    assert (broken.exists(), few.exists(), head(settings.products_uri)) == (True, True, before)

    with pytest.raises(OnHoldError, match=r"20 of 30 products \(66.7%\)") as caught:
        ingest_inbox(settings, refuse("broken", by="ann"))
    note = json.loads(next((settings.inbox_dir / ".refused").glob("*-broken/note.json")).read_text())
    assert (note["by"], note["feed_id"], note["at"] > 0) == ("ann", "broken", True)
    on_hold = IngestResult.model_validate(caught.value.result).on_hold
    assert on_hold is not None
    (figure,) = on_hold.figures
    assert (figure.guard, figure.limit) == ("max_withdrawn_share", settings.max_withdrawn_share)
    assert figure.value == pytest.approx(2 / 3)

    result = ingest_inbox(settings, accept(on_hold.digest, refresh="r7"))
    assert (result.deleted, result.applied, few.exists()) == (20, True, False)
    metadata = recent_commit_metadata(settings.products_uri)[0]
    accepted = {"by": "bob", "guards": ["max_withdrawn_share"], "reasons": [figure.sentence]}
    assert (metadata["feed_id"], metadata["refresh"]) == ("few", "r7")
    assert metadata["accepted"] == {**accepted, "at": metadata["accepted"]["at"]}
    assert result.feeds[0].accepted == Acceptance(**metadata["accepted"])
    # The same decision again, as if an earlier try had been killed after its commit.
    assert ingest_inbox(settings, accept(on_hold.digest)).applied is False
    with pytest.raises(InputError, match="'other'"):
        ingest_inbox(settings, accept("other"))
