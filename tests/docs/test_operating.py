"""What docs/operating.md does to the state of a home."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from pages import DOCS, blocks
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from release.registered import set_production, stored
from release.servers import script

pytestmark = pytest.mark.server
PAGE = DOCS / "operating.md"


def shell_block(beginning: str) -> list[str]:
    """The words of the one-line block of the page that begins with this word, its variables replaced."""
    (line,) = (text for text in blocks(PAGE, "sh") if text.startswith(beginning))
    return shlex.split(os.path.expandvars(line))


def test_a_deleted_release_leaves_no_files_and_no_other_release_changes(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(home)
    set_production(registry, 2)
    deleted, kept = stored(registry, 1), stored(registry, 2)
    monkeypatch.setenv("RECSIM_HOME", str(home.home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", home.tracking_uri)
    (snippet,) = blocks(PAGE, "python")
    exec(snippet, {})
    program, *arguments = shell_block("mlflow gc")
    subprocess.run([script(program), *arguments], check=True, capture_output=True)
    assert not deleted.exists()
    assert kept.exists()
    champion = registry.champion()
    assert champion is not None
    assert champion.version == 2
    assert [version.version for version in registry.references()] == [2]


def test_old_refreshes_keep_their_results_and_lose_their_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for refresh, age in (("old", 30 * 86_400), ("new", 0)):
        folder = tmp_path / "refreshes" / refresh
        (folder / "index").mkdir(parents=True)
        (folder / "index" / "vectors.faiss").touch()
        (folder / "plan.json").touch()
        at = folder.stat().st_mtime - age
        os.utime(folder / "index", (at, at))
    monkeypatch.setenv("RECSIM_HOME", str(tmp_path))
    subprocess.run(shell_block("find"), check=True)
    kept = {str(path.relative_to(tmp_path / "refreshes")) for path in tmp_path.glob("refreshes/*/*")}
    assert kept == {"old/plan.json", "new/plan.json", "new/index"}
