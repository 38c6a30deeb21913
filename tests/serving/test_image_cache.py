"""Images at the release's version of the catalogue, on real Delta tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.reader import head, open_table
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.serving import image_cache
from recsim_tasks.serving.image_cache import ImageCache, media_type
from release.bundles import png_image


def table(images: dict[str, bytes]) -> pa.Table:
    """Products with these images; the hash of an image is its text in the tests."""
    return pa.table(
        {
            "product_id": list(images),
            "image_hash": [data.hex()[-20:] for data in images.values()],
            "image": pa.array(list(images.values()), pa.binary()),
        }
    )


def hash_of(data: bytes) -> str:
    return data.hex()[-20:]


def cursor_of(uri: str) -> Cursor:
    cursor = head(uri)
    assert cursor is not None
    return cursor


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A catalogue at version 0, whose files may be deleted at once."""
    uri = str(tmp_path / "products")
    write_deltalake(uri, table({"a": b"old a", "it's b": b"old b"}))
    return uri


def replace(uri: str, images: dict[str, bytes]) -> None:
    write_deltalake(uri, table(images), mode="overwrite")


def vacuum(uri: str) -> None:
    DeltaTable(uri).vacuum(0, dry_run=False, enforce_retention_duration=False)


def test_an_image_is_that_of_the_release_after_the_catalogue_has_moved_on(uri: str) -> None:
    cursor, images = cursor_of(uri), ImageCache(uri)
    replace(uri, {"a": b"new a"})
    assert images.get(cursor, "a", hash_of(b"old a"), None) == b"old a"
    assert images.get(cursor, "it's b", hash_of(b"old b"), None) == b"old b"
    assert images.get(cursor_of(uri), "a", hash_of(b"new a"), None) == b"new a"


def test_after_a_vacuum_only_images_that_did_not_change_are_found(uri: str) -> None:
    cursor, before, after = cursor_of(uri), ImageCache(uri), ImageCache(uri)
    assert before.get(cursor, "a", hash_of(b"old a"), None) == b"old a"
    replace(uri, {"a": b"new a", "it's b": b"old b"})
    vacuum(uri)
    for images in (before, after):
        assert images.get(cursor, "it's b", hash_of(b"old b"), None) == b"old b"
        assert images.get(cursor, "gone", hash_of(b"old a"), None) is None
    assert before.get(cursor, "a", hash_of(b"old a"), None) == b"old a", "from the cache"
    assert after.get(cursor, "a", hash_of(b"old a"), None) is None


def test_of_a_table_that_was_created_again_only_the_same_images_are_served(uri: str, tmp_path: Path) -> None:
    other = str(tmp_path / "again")
    write_deltalake(other, table({"a": b"old a", "it's b": b"new b"}))
    images = ImageCache(other)
    assert images.get(cursor_of(uri), "a", hash_of(b"old a"), None) == b"old a"
    assert images.get(cursor_of(uri), "it's b", hash_of(b"old b"), None) is None


def test_without_a_catalogue_the_error_says_so(uri: str, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="There is no catalogue at"):
        ImageCache(str(tmp_path / "none")).get(cursor_of(uri), "a", "h", None)


def test_the_table_of_a_release_is_opened_once_and_its_images_are_cached(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Cursor | None] = []

    def counted(uri: str, cursor: Cursor | None = None) -> DeltaTable:
        opened.append(cursor)
        return open_table(uri, cursor)

    monkeypatch.setattr(image_cache, "open_table", counted)
    images, cursor = ImageCache(uri), cursor_of(uri)
    for _ in range(3):
        images.get(cursor, "a", hash_of(b"old a"), None)
        images.get(cursor, "it's b", hash_of(b"old b"), None)
    assert opened == [cursor]
    monkeypatch.setattr(image_cache, "read_image", lambda *_: pytest.fail("read again"))
    assert images.get(cursor, "a", hash_of(b"old a"), None) == b"old a"


def test_threads_read_the_images_of_two_releases_side_by_side(uri: str) -> None:
    first, images = cursor_of(uri), ImageCache(uri)
    replace(uri, {"a": b"new a", "it's b": b"new b"})
    second = cursor_of(uri)
    wanted = [
        (cursor, name, data)
        for cursor, age in ((first, b"old "), (second, b"new "))
        for name, data in (("a", age + b"a"), ("it's b", age + b"b"))
    ] * 10
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: images.get(each[0], each[1], hash_of(each[2]), None), wanted))
    assert found == [data for *_, data in wanted]


def test_a_smaller_copy_is_a_jpeg_and_the_original_keeps_its_type(tmp_path: Path) -> None:
    uri = str(tmp_path / "products")
    write_deltalake(uri, table({"a": png_image(3)}))
    images = ImageCache(uri)
    whole, small = (images.get(cursor_of(uri), "a", hash_of(png_image(3)), side) for side in (None, 16))
    assert whole == png_image(3)
    assert small is not None
    assert (media_type(whole), media_type(small)) == ("image/png", "image/jpeg")
    assert media_type(b"RIFF....WEBP") == "image/webp"
    assert media_type(b"<html>") == "application/octet-stream"
