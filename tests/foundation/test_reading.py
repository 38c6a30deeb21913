from __future__ import annotations

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
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name, kind in {"pipe": "a pipe", "folder": "a folder", "zeros": "a device"}.items():
        with pytest.raises(NotAFileError, match=f"is {kind}, not a file"):
            read_small(tmp_path / name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, "\x00"])
def test_what_is_no_json_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a")
