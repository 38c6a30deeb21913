"""Decoded images, many more than fit into memory: kept in a file and read by row."""

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
from recsim_tasks.foundation.outages import diagnose


class ImageStore(Protocol):
    """Images by row number."""

    def read(self, rows: Int64Array) -> UInt8Array:
        """The images of `rows` [n], uint8 [n, h, w, c]."""


class InMemoryImages:
    """Images in an array."""

    def __init__(self, images: UInt8Array) -> None:
        self._images = images

    def read(self, rows: Int64Array) -> UInt8Array:
        """The images of `rows` [n], uint8 [n, h, w, c]."""
        return self._images[rows]


class OnDiskImages:
    """Images in an unnamed file in `TMPDIR`, h x w x c bytes each; it disappears with the process."""

    def __init__(self, images: Iterable[UInt8Array], count: int, shape: tuple[int, int, int]) -> None:
        """Write `count` images, given in parts; `UnavailableError` when they do not fit on the disk."""
        self._shape, self._image_bytes = shape, int(np.prod(shape))
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if count * self._image_bytes > free:
            raise UnavailableError(
                f"{count:,} decoded images take {count * self._image_bytes:,} bytes, but "
                f"{tempfile.gettempdir()} has {free:,} left. Free some space, set TMPDIR to another "
                "folder, or train on more ranks."
            )
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as this object
        weakref.finalize(self, self._file.close)
        for part in images:
            self._write(part)

    def _write(self, images: UInt8Array) -> None:
        try:
            self._file.write(images.tobytes())
            self._file.flush()
        except OSError as error:  # several ranks may have counted on the same space
            raise diagnose(error, tempfile.gettempdir()) or error from error

    def read(self, rows: Int64Array) -> UInt8Array:
        """The images of `rows` [n], uint8 [n, h, w, c].

        Read, not mapped: mapped pages count as this process's memory, and clusters end processes by that.
        """
        images = np.empty((len(rows), *self._shape), np.uint8)
        for position, row in enumerate(rows.tolist()):
            os.preadv(self._file.fileno(), [images[position]], row * self._image_bytes)
        return images
