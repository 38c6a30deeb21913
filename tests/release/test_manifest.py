from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import InputError, UnavailableError
from recsim_tasks.release.manifest import Manifest


def test_a_manifest_is_read_as_it_was_written(manifest: Manifest, tmp_path: Path) -> None:
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest


@pytest.mark.parametrize("name", sorted(set(Manifest.model_fields) - {"release_format", "seal"}))
def test_a_field_that_was_changed_breaks_the_seal(bundle: Path, name: str) -> None:
    path = bundle / "manifest.json"
    values = json.loads(path.read_text())
    values[name] = _another(values[name])
    path.write_text(json.dumps(values))
    with pytest.raises(InputError):
        Manifest.read(bundle)


@pytest.mark.parametrize("content", ["", "{}", "[]", "not json", '{"release_format": 2}'])
def test_an_invalid_manifest_is_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="is not a manifest"):
        Manifest.read(tmp_path)


def test_a_folder_without_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no release"):
        Manifest.read(tmp_path)


def test_a_manifest_that_an_outage_hides_is_not_a_missing_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_bytes(_: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(UnavailableError, match="No file descriptors are left"):
        Manifest.read(tmp_path)


def _another(value: object) -> object:
    if isinstance(value, dict):
        key = next(iter(value))
        return {**value, key: _another(value[key])}
    if isinstance(value, list):
        return value[1:]
    return value + 1 if isinstance(value, int | float) else "0" * 64 if value != "0" * 64 else "1" * 64
