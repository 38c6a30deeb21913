"""Random feeds, delivered twice or killed: tables and net changes equal those of a model in plain Python."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from catalogue.histories import Model, deliver, random_feed
from recsim_tasks.catalogue.delta.net_changes import count_kinds, net_changes
from recsim_tasks.catalogue.delta.reader import head, open_table, scan
from recsim_tasks.catalogue.feeds import ingest
from recsim_tasks.catalogue.feeds.quarantine import quarantined
from recsim_tasks.contracts import IngestResult
from recsim_tasks.foundation.settings import Settings, load_settings

pytestmark = [pytest.mark.drill, pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
STAGES = ("create_tables", "quarantine_rows", "record_withdrawals", "merge_products", "record_applied")
FEEDS = 3


class KilledError(BaseException):
    """Simulates a kill at this point; test_faults.py kills processes."""


def dying(step: Callable[..., Any], after: bool) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        if after:
            step(*arguments)
        raise KilledError

    return run


def loose_settings(home: Path) -> Settings:
    """Settings without guards, which have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_HOME", str(home))
        for name in ("WITHDRAWN_SHARE", "WITHDRAWN_CATEGORY_SHARE", "QUARANTINED_SHARE", "CATEGORY_SHIFT"):
            patch.setenv(f"RECSIM_MAX_{name}", "1")
        return load_settings()


def kill_and_redeliver(chance: random.Random, settings: Settings, feed: Path) -> IngestResult:
    """Ingest the feed, sometimes after a killed try, then once more, which must do nothing."""
    if chance.random() < 0.5:
        stage, after = chance.choice(STAGES), chance.random() < 0.5
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ingest, stage, dying(getattr(ingest, stage), after))
            try:
                killed = ingest.ingest_feed(settings, feed)
            except KilledError:
                killed = None
        result = ingest.ingest_feed(settings, feed)
        result = killed or result
    else:
        result = ingest.ingest_feed(settings, feed)
    before = head(settings.products_uri)
    assert ingest.ingest_feed(settings, feed).applied is False
    assert head(settings.products_uri) == before
    return result


def products(settings: Settings) -> dict[str, dict[str, Any]]:
    columns = ["product_id", "title", "image", "updated_at"]
    rows = scan(open_table(settings.products_uri), columns).to_pylist()
    by_id = {row.pop("product_id"): row for row in rows}
    assert len(by_id) == len(rows)
    return by_id


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    both = before.keys() & after.keys()
    replaced = {key for key in both if before[key]["image"] != after[key]["image"]}
    updated = {key for key in both - replaced if before[key]["title"] != after[key]["title"]}
    return {
        "insert": len(after.keys() - before.keys()),
        "replace": len(replaced),
        "update": len(updated),
        "delete": len(before.keys() - after.keys()),
    }


def test_every_history_gives_the_tables_of_the_model(pytestconfig: pytest.Config) -> None:
    @given(seed=st.integers(0, 2**32 - 1))
    @limits(
        max_examples=pytestconfig.getoption("--histories"),
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(seed: int) -> None:
        chance, model = random.Random(seed), Model()
        with tempfile.TemporaryDirectory() as scratch:
            settings = loose_settings(Path(scratch, "home"))
            start, at_start = None, {}
            for number in range(FEEDS):
                rows, full = random_feed(chance)
                feed = deliver(Path(scratch), f"feed-{number}", rows, full)
                counts = model.apply(f"feed-{number}", rows, full)
                result = kill_and_redeliver(chance, settings, feed)
                if result.applied:
                    assert result.model_dump(include=set(counts)) == counts
                assert products(settings) == model.products
                listed = quarantined(settings, limit=10_000).newest
                assert sorted((row.feed_id, row.product_id) for row in listed) == sorted(model.quarantine)
                now = head(settings.products_uri)
                assert now is not None
                if start is None:
                    start, at_start = now, dict(model.products)
                assert count_kinds(net_changes(settings.products_uri, start, now)) == differences(
                    at_start, model.products
                )

    check()
