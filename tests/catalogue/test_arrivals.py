from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from upath import UPath

from recsim_tasks.catalogue.arrivals import APPLIED, REFUSED, at_hand, move_aside, notes
from recsim_tasks.catalogue.feed import closed_feeds, open_feed
from recsim_tasks.foundation.settings import Settings


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[UPath]:
    """A bucket of moto's server, which answers as S3 does; known by the environment, as jobs know theirs."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "moto")
    bucket = UPath("s3://lake", skip_instance_cache=True)
    bucket.mkdir()
    yield bucket
    bucket.fs.rm("lake", recursive=True)
    server.stop()


@pytest.fixture(params=["folder", "object store"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Path | UPath:
    where = tmp_path / "inbox" if request.param == "folder" else request.getfixturevalue("bucket") / "inbox"
    for name in ("a", "b"):
        (where / name).mkdir(parents=True, exist_ok=True)
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
