"""An outage during a scan is an outage, whatever class delta-rs and Arrow give it; a removed file is not."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from catalogue.delta.test_net_changes import at_head, product, table
from recsim_tasks.catalogue.delta import net_changes as net_changes_module
from recsim_tasks.catalogue.delta.change_feed import open_change_range
from recsim_tasks.catalogue.delta.image_files import iter_images
from recsim_tasks.catalogue.delta.net_changes import net_changes
from recsim_tasks.catalogue.delta.reader import iter_products, open_table, read_image, read_products, scan
from recsim_tasks.catalogue.delta.storage_errors import translate_errors, translate_read_errors
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import ConfigurationError, MissingError, RecsimError, UnavailableError

S3 = (
    "C Data interface error: External error: Parquet error: Parquet error: Failed to fetch metadata for file "
    "products/part-0.parquet: Object Store error: "
)
GET = "Error performing GET http://s3/lake/products/part-0.parquet in 1.9s, after 10 retries"
# As delta-rs 1.6.6 words them, tried with a server that was stopped, broken, closed to us, or cut off.
FAULTS = [
    (f"Generic S3 error: {GET} - HTTP error: error sending request", UnavailableError),
    (
        f"Generic S3 error: {GET} - Server returned non-2xx status code: 503 Service Unavailable",
        UnavailableError,
    ),
    (
        f"Generic S3 error: {GET} - Server returned non-2xx status code: 500 Internal Server Error",
        UnavailableError,
    ),
    ("Generic S3 error: HTTP error: request or response body error", UnavailableError),
    (
        f"The operation lacked the necessary privileges to complete for path products/part-0.parquet: {GET} "
        "- Server returned non-2xx status code: 403 Forbidden: <Error><Code>AccessDenied</Code></Error>",
        ConfigurationError,
    ),
]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    uri = str(tmp_path / "products")
    rows = table(product("a"), product("b")).append_column("image", pa.array([b"image a", b"image b"]))
    write_deltalake(uri, rows, configuration={"delta.enableChangeDataFeed": "true"})
    write_deltalake(uri, rows, mode="append")
    return uri


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let no further file be opened inside."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        lowest_free = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        yield


@pytest.mark.parametrize(("text", "kind"), FAULTS)
@pytest.mark.parametrize("error", [pa.ArrowInvalid, OSError])
def test_a_fault_of_the_storage_is_known_in_any_class(
    text: str, kind: type[RecsimError], error: type[Exception]
) -> None:
    for translate in (translate_errors("s3://lake/products"), translate_read_errors("s3://lake/products", 1)):
        with pytest.raises(kind, match="the table s3://lake/products") as known, translate:
            raise error(S3 + text)
        assert type(known.value) is kind


def test_any_other_error_of_a_read_says_that_the_version_is_gone() -> None:
    with (
        pytest.raises(MissingError, match=r"Version 3 of the table at lake can no longer be read: .*damaged"),
        translate_read_errors("lake", 3),
    ):
        raise pa.ArrowInvalid("the footer is damaged")


def test_a_scan_without_descriptors_is_an_outage(uri: str) -> None:
    opened = open_table(uri)
    with pytest.raises(UnavailableError, match="No file descriptors are left"), no_descriptors_left():
        scan(opened, ["product_id"])
    assert len(scan(opened, ["product_id"])) == 4, "the control"


def test_an_outage_is_not_a_gap_of_the_change_feed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, head = Cursor(at_head(uri).table_id, 0), at_head(uri)

    def open_without_descriptors(*args: Any) -> DeltaTable:
        opened = open_change_range(*args)
        stack.enter_context(no_descriptors_left())
        return opened

    monkeypatch.setattr(net_changes_module, "open_change_range", open_without_descriptors)
    with ExitStack() as stack, pytest.raises(UnavailableError, match="No file descriptors are left"):
        net_changes(uri, before, head)


Read = Callable[[str, Cursor], object]
READS: list[Read] = [
    lambda uri, cursor: read_products(uri, cursor, ["product_id"]),
    lambda uri, cursor: list(iter_products(uri, cursor, ["image"])),
    lambda uri, cursor: read_image(open_table(uri, cursor), "a", "i"),
    lambda uri, cursor: list(iter_images(uri, cursor, pa.array(["i"]))),
]


@pytest.mark.parametrize("read", READS)
def test_a_vacuumed_version_is_missing_for_every_reader(uri: str, read: Read) -> None:
    cursor = at_head(uri)
    DeltaTable(uri).delete()
    DeltaTable(uri).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(MissingError, match=r"Version 1 of .* can no longer be read"):
        read(uri, cursor)
