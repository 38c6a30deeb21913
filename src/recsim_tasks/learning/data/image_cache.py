"""Decoded images, many more than fit into memory: in a file, of which only what is asked for is read."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from recsim_tasks.arrays import Int64Array, UInt8Array
from recsim_tasks.foundation.errors import UnavailableError


class Images(Protocol):
    """Images by row number."""

    def read(self, rows: Int64Array) -> UInt8Array:
        """The images of `rows` [n], uint8 [n, h, w, c]."""


class InMemory:
    """Images in an array."""

    def __init__(self, images: UInt8Array) -> None:
        self._images = images

    def read(self, rows: Int64Array) -> UInt8Array:
        """The images of `rows` [n], uint8 [n, h, w, c]."""
        return self._images[rows]


class OnDisk:
    """Images in a file without a name in `TMPDIR`, h x w x c bytes each; it goes when the process does, however that ends."""

    def __init__(self, images: Iterable[UInt8Array], count: int, shape: tuple[int, int, int]) -> None:
        """Write `count` images, given in parts; `UnavailableError` when they do not fit on the disk."""
        self._shape, self._each = shape, int(np.prod(shape))
        room = shutil.disk_usage(tempfile.gettempdir()).free
        if count * self._each > room:
            raise UnavailableError(
                f"{count:,} decoded images take {count * self._each:,} bytes, but {tempfile.gettempdir()} has {room:,} left. "
                "Make room, name another folder by TMPDIR, or train on more ranks."
            )
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as this object
        weakref.finalize(self, self._file.close)
        for part in images:
            self._file.write(part.tobytes())
        self._file.flush()

    def read(self, rows: Int64Array) -> UInt8Array:
        """The images of `rows` [n], uint8 [n, h, w, c].

        Read, not mapped: what is mapped counts as this process's memory, by which clusters end processes.
        """
        images = np.empty((len(rows), *self._shape), np.uint8)
        for place, row in enumerate(rows.tolist()):
            os.preadv(self._file.fileno(), [images[place]], row * self._each)
        return images
