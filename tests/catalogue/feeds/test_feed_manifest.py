from __future__ import annotations

from pathlib import Path

import pytest

from recsim_tasks.catalogue.feeds.feed_manifest import MANIFEST, Manifest, read_manifest, stays_inside
from recsim_tasks.foundation.errors import InputError


def write(folder: Path, text: str) -> Path:
    (folder / MANIFEST).write_text(text)
    return folder


def test_a_manifest_is_read_with_its_defaults(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, '{"feed_id": "monday", "rows": 3}'))
    assert manifest == Manifest(feed_id="monday", rows=3, full=False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "it contains a list, not an object"),
        ('{"feed_id": "x", "rows": 1, "rows": 2}', "it contains rows twice"),
        ('{"rows": 1}', "feed_id"),
        ('{"feed_id": "../x", "rows": 1}', "feed_id"),
        ('{"feed_id": "x", "rows": -1}', "rows"),
        ('{"feed_id": "x", "rows": 1, "ful": true}', "ful"),
        ('{"feed_id": "x", "rows": 1, "id_prefix": "i"}', "id_prefix"),
    ],
)
def test_a_bad_manifest_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_manifest(write(tmp_path, text))


def test_a_feed_without_manifest_is_not_closed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not closed yet"):
        read_manifest(tmp_path)


def test_a_link_stays_inside_a_folder_or_leads_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "feed" / "a", tmp_path / "b"
    inside.parent.mkdir()
    inside.touch()
    outside.touch()
    for name, target in (("in", inside), ("out", outside), ("nowhere", tmp_path / "c")):
        (tmp_path / "feed" / name).symlink_to(target)
    names = {
        name: stays_inside(tmp_path / "feed" / name, tmp_path / "feed") for name in ("in", "out", "nowhere")
    }
    assert names == {"in": True, "out": False, "nowhere": False}
