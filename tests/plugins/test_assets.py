from __future__ import annotations

import pytest

from recsim_airflow.assets import CATALOGUE, LOCAL_POLL, RELEASE, REMOTE_POLL, catalogue_commits, feed_inbox
from recsim_airflow.triggers import CatalogueCommitTrigger, FeedManifestTrigger
from recsim_tasks.foundation.settings import Settings, load_settings

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize(("inbox", "poll"), [("/srv/inbox", LOCAL_POLL), ("s3://lake/inbox", REMOTE_POLL)])
def test_an_inbox_in_an_object_store_is_listed_less_often(
    inbox: str, poll: float, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSIM_INBOX", inbox)
    trigger = feed_inbox(load_settings()).watchers[0].trigger
    assert isinstance(trigger, FeedManifestTrigger)
    assert (trigger.inbox, trigger.poll_interval) == (inbox, poll)


def test_the_watched_catalogue_is_another_asset_than_the_one_that_a_refresh_updates(
    settings: Settings,
) -> None:
    commits = catalogue_commits(settings)
    trigger = commits.watchers[0].trigger
    assert isinstance(trigger, CatalogueCommitTrigger)
    assert trigger.table_uri == settings.products_uri
    assert len({commits.uri, CATALOGUE.uri, RELEASE.uri}) == 3
