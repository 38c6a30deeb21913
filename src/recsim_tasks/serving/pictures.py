"""The products' pictures, from the catalogue; the last ones that were asked for are kept."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from recsim_tasks.catalogue.table import read_image

KEPT = 2000
KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class Pictures:
    """Pictures by product and content: one that is replaced is read anew."""

    def __init__(self, products_uri: str) -> None:
        self._uri = products_uri
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, product_id: str, image_hash: str) -> bytes | None:
        """The picture as it was delivered; None when the catalogue has the product no more."""
        key = (product_id, image_hash)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        data = read_image(self._uri, product_id)
        if data is not None:
            with self._lock:
                self._kept[key] = data
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return data


def media_type(data: bytes) -> str:
    """MIME type of a picture, from its first bytes."""
    return next((kind for magic, kind in KINDS.items() if data.startswith(magic)), "application/octet-stream")
