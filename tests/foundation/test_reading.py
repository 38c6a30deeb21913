from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from recsim_tasks.foundation.reading import NotAFileError, read_json, read_small


def test_a_small_file_is_read_and_a_large_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    assert read_small(tmp_path / "a", 4) == b"1234"
    with pytest.raises(NotAFileError, match="has 4 bytes, more than 3"):
        read_small(tmp_path / "a", 3)


def test_a_folder_a_pipe_and_a_device_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zeros").symlink_to("/dev/zero")
    gc.collect()  # a file that an earlier test has left open is closed now, and not in between
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name, kind in {"pipe": "a pipe", "folder": "a folder", "zeros": "a device"}.items():
        with pytest.raises(NotAFileError, match=f"is {kind}, not a file"):
            read_small(tmp_path / name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_grows_beyond_the_limit_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        (tmp_path / "a").write_bytes(b"12345")
        return status

    fstat = os.fstat
    (tmp_path / "a").write_bytes(b"1234")
    monkeypatch.setattr(os, "fstat", grow)
    with pytest.raises(NotAFileError, match="more than 4 bytes"):
        read_small(tmp_path / "a", 4)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, "\x00"])
def test_what_is_no_json_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a")
