"""The products' pictures, from the catalogue; the last ones that were asked for are kept."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from recsim_tasks.catalogue.delta.reader import read_image
from recsim_tasks.catalogue.images.decode import small_jpeg

KEPT_BYTES, LARGEST_KEPT = 64 * 2**20, 2**20
Key = tuple[str, str, int | None]
KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class Pictures:
    """Pictures by product and content: one that is replaced is read anew."""

    def __init__(self, products_uri: str) -> None:
        self._uri = products_uri
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, product_id: str, image_hash: str, side: int | None) -> bytes | None:
        """The picture as it was delivered, or as a JPEG of at most `side` pixels; None when the catalogue has the product no more."""
        key = (product_id, image_hash, side)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        data = read_image(self._uri, product_id)
        if data is not None and side is not None:
            data = small_jpeg(data, side)
        if data is not None and len(data) <= LARGEST_KEPT:
            self._keep(key, data)
        return data

    def _keep(self, key: Key, data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._kept.get(key, b""))
            self._kept[key] = data
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])


def media_type(data: bytes) -> str:
    """MIME type of a picture, from its first bytes."""
    return next((kind for magic, kind in KINDS.items() if data.startswith(magic)), "application/octet-stream")
