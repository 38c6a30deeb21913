"""An S3 bucket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from upath import UPath


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[UPath]:
    """A bucket of moto's S3 server, configured by environment variables as for jobs."""
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
