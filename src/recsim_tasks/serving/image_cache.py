"""Product images at a release's version of the catalogue, with a cache of recent ones."""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import LRUCache

from recsim_tasks.catalogue.delta.reader import open_table, read_image
from recsim_tasks.catalogue.images.decode import small_jpeg
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import MissingError

if TYPE_CHECKING:
    from deltalake import DeltaTable

log = logging.getLogger(__name__)

CACHE_BYTES, MAX_CACHED_BYTES = 64 * 2**20, 2**20
# The current release and the one before it, whose last requests may still run.
OPEN_TABLES = 2
MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class ImageCache:
    """Reads product images, and keeps small ones by product, content and size."""

    def __init__(self, products_uri: str) -> None:
        self._uri = products_uri
        self._images: LRUCache[tuple[str, str, int | None], bytes] = LRUCache(CACHE_BYTES, getsizeof=len)
        self._tables: OrderedDict[Cursor, DeltaTable] = OrderedDict()
        self._lock = Lock()

    def get(self, cursor: Cursor, product_id: str, image_hash: str, side: int | None) -> bytes | None:
        """Return a product's image as delivered, or as a JPEG of at most `side` pixels.

        None when neither the catalogue at `cursor` nor its head has an image of this product with this
        content.
        """
        key = (product_id, image_hash, side)
        with self._lock:
            if key in self._images:
                return bytes(self._images[key])
        data = self._read(cursor, product_id, image_hash)
        if data is not None and side is not None:
            data = small_jpeg(data, side)
        if data is not None and len(data) <= MAX_CACHED_BYTES:
            with self._lock:
                self._images[key] = data
        return data

    def _read(self, cursor: Cursor, product_id: str, image_hash: str) -> bytes | None:
        """Read the image at the release's version of the catalogue.

        That version is gone when the table was created again, or its files were vacuumed. Then the head is
        read: the hash makes sure that it is the same image.
        """
        try:
            image = read_image(self._table(cursor), product_id, image_hash)
        except MissingError as error:
            log.debug("Reading the image of %r at the catalogue's head: %s", product_id, error)
            image = None
        return image if image is not None else read_image(open_table(self._uri), product_id, image_hash)

    def _table(self, cursor: Cursor) -> DeltaTable:
        """Return the catalogue at `cursor`.

        Opening it replays the log, so it stays open while a release serves.
        """
        with self._lock:
            table = self._tables.get(cursor)
        if table is None:
            table = open_table(self._uri, cursor)
            with self._lock:
                self._tables[cursor] = table
                while len(self._tables) > OPEN_TABLES:
                    self._tables.popitem(last=False)
        return table


def media_type(data: bytes) -> str:
    """Return the MIME type of an image, from its first bytes."""
    types = (name for magic, name in MEDIA_TYPES.items() if data.startswith(magic))
    return next(types, "application/octet-stream")
