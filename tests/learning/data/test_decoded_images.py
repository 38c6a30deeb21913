from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.learning.data.decoded_images import InMemoryImages, OnDiskImages

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), np.uint8)


def test_rows_are_read_back_in_any_order_and_repeatedly() -> None:
    stored = OnDiskImages(iter([IMAGES[:20], IMAGES[20:]]), 50, (6, 5, 3))
    rows = np.array([49, 0, 20, 20, 7])
    assert np.array_equal(stored.read(rows), IMAGES[rows])
    assert np.array_equal(InMemoryImages(IMAGES).read(rows), IMAGES[rows])


def test_a_killed_process_leaves_no_file(tmp_path: Path) -> None:
    program = (
        "import os, numpy as np; from recsim_tasks.learning.data.decoded_images import OnDiskImages; "
        "images = OnDiskImages(iter([np.zeros((9, 4, 4, 1), np.uint8)]), 9, (4, 4, 1)); "
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_others_fill_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full)
        with pytest.raises(UnavailableError, match="The disk is full"):
            OnDiskImages(iter([IMAGES]), 50, (6, 5, 3))


def test_images_that_do_not_fit_are_refused_before_one_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(0, 0, 4_499))
    with pytest.raises(
        UnavailableError,
        match=rf"50 decoded images take 4,500 bytes, but {tempfile.gettempdir()} has 4,499 left.*TMPDIR",
    ):
        OnDiskImages(iter([IMAGES]), 50, (6, 5, 3))
