from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry.references import LONGEST_TAG, Origin, ReleaseRef, reference_of, tags_of


def read_back(manifest: Manifest, feeds: tuple[str, ...]) -> ReleaseRef:
    tags = tags_of(manifest, Origin("one", None, feeds))
    assert len(tags["feeds"]) <= LONGEST_TAG
    return reference_of(cast("Any", SimpleNamespace(version="7", tags=tags)))


@pytest.mark.parametrize("feeds", [(), ("monday",), ("monday", "tuesday")])
def test_the_tags_of_a_release_are_read_back(manifest: Manifest, feeds: tuple[str, ...]) -> None:
    reference = read_back(manifest, feeds)
    assert (reference.version, reference.cursor, reference.feeds) == (7, manifest.cursor, feeds)
    assert reference.size == manifest.counts["products"]


def test_a_tag_with_too_many_feeds_is_cut_between_two_ids(manifest: Manifest) -> None:
    feeds = tuple(f"feed-{number}" for number in range(2_000))
    kept = read_back(manifest, feeds).feeds
    assert kept == feeds[: len(kept)]
    assert len(kept) > 400
