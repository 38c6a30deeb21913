"""How fresh the release in Production is, on a real catalogue and a real registry."""

from __future__ import annotations

import json

import pytest
from deltalake import CommitProperties, DeltaTable

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.operations.status import release_of_feed, releases, status
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions


def test_the_status_says_how_far_the_catalogue_is_ahead(behind: Settings) -> None:
    result = status(behind)
    assert result.champion is not None
    assert result.behind is not None
    assert (result.champion.version, result.champion.size, result.behind.versions) == (1, 40, 0)
    assert (result.frozen, result.problem) == (None, None)
    DeltaTable(behind.products_uri).update({"price": "1.0"}, predicate="product_id = 'p001'")
    result = status(behind)
    assert result.behind is not None
    assert result.behind.versions == 1
    assert result.behind.seconds is not None
    assert result.summary == "release 1 is in Production"


def test_a_feed_is_followed_to_the_release_that_served_it_first(behind: Settings) -> None:
    (period,) = releases(behind).releases
    assert (period.version, period.end, period.why) == (1, None, "promoted")
    commit = CommitProperties(
        custom_metadata={"userMetadata": json.dumps({"feed_id": "late", "refresh": "r"})}
    )
    DeltaTable(behind.products_uri).update(
        {"price": "1.0"}, predicate="product_id = 'p001'", commit_properties=commit
    )
    late, tuesday = release_of_feed(behind, "late"), release_of_feed(behind, "tuesday")
    assert (late.catalogue_version, late.first_served) == (1, None)
    assert late.summary == "feed late has not been served yet"
    assert (tuesday.catalogue_version, tuesday.first_served) == (None, period), "named by the release alone"
    with pytest.raises(InputError, match="names the feed 'never'"):
        release_of_feed(behind, "never")


def test_the_status_says_who_froze_promotions(behind: Settings) -> None:
    result = Promotions(Registry(behind)).rollback(1, "poor results", "ada")
    assert (result.version, result.previous) == (1, None), "the champion stays, and is not rolled back"
    frozen = status(behind).frozen
    assert frozen is not None
    assert (frozen.by, frozen.reason) == ("ada", "poor results")
