from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import check_digests, digests, publishing, write_json

FILES = 12
KILLS = 20
# Publishes generation after generation of a folder until it is killed.
PUBLISHER = f"""
import sys
from pathlib import Path
from recsim_tasks.foundation.publishing import publishing
target = Path(sys.argv[1])
def fill(folder, generation):
    (folder / "inner").mkdir(exist_ok=True)
    for number in range({FILES}):
        (folder / "inner" / str(number)).write_text(str(generation) * 20_000)
generation = 0
while True:
    WAY
    if generation == 0:
        print("published", flush=True)
    generation = (generation + 1) % 10
"""
ATOMIC = "with publishing(target) as folder: fill(folder, generation)"
IN_PLACE = "target.mkdir(exist_ok=True); fill(target, generation)"


def run_and_kill(target: Path, way: str, after: float) -> None:
    with subprocess.Popen([sys.executable, "-c", PUBLISHER.replace("WAY", way), str(target)], stdout=subprocess.PIPE) as publisher:
        assert publisher.stdout
        publisher.stdout.readline()
        time.sleep(after)
        publisher.kill()


def is_whole(target: Path) -> bool:
    """Whether every file is there and all are of one generation."""
    contents = {(target / "inner" / str(number)).read_text() for number in range(FILES) if (target / "inner" / str(number)).exists()}
    names = {path.name for path in (target / "inner").iterdir()}
    return len(names) == FILES and len(contents) == 1 and len(contents.pop()) == 20_000


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    rng = random.Random(5)
    for kill in range(KILLS):
        run_and_kill(tmp_path / "release", ATOMIC, rng.uniform(0, 0.05))
        assert is_whole(tmp_path / "release"), f"torn by kill {kill}"


def test_the_kills_would_have_seen_a_torn_folder(tmp_path: Path) -> None:
    rng = random.Random(5)

    def torn() -> bool:
        run_and_kill(tmp_path / "release", IN_PLACE, rng.uniform(0, 0.05))
        return not is_whole(tmp_path / "release")

    assert any(torn() for _ in range(KILLS))


def test_an_error_leaves_the_old_and_nothing_beside(tmp_path: Path) -> None:
    with publishing(tmp_path / "release") as folder:
        (folder / "a").write_text("old")
    with suppress(ZeroDivisionError), publishing(tmp_path / "release") as folder:
        (folder / "a").write_text("new")
        raise ZeroDivisionError
    assert (tmp_path / "release" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_publishing_replaces_all_of_the_old(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with publishing(tmp_path / "release") as folder:
            (folder / name).write_text(name)
    assert [path.name for path in (tmp_path / "release").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_leavings_of_a_killed_try_are_not_published(tmp_path: Path) -> None:
    (tmp_path / ".release.staged").mkdir()
    (tmp_path / ".release.staged" / "half").write_text("h")
    with publishing(tmp_path / "release") as folder:
        (folder / "a").write_text("a")
    assert [path.name for path in (tmp_path / "release").iterdir()] == ["a"]


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", {"decision": "append", "long": "x" * 100_000})
    write_json(tmp_path / "plan.json", {"decision": "skip"})
    assert (tmp_path / "plan.json").read_text() == '{\n "decision": "skip"\n}'
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "vectors.faiss").write_bytes(b"vectors")
    (tmp_path / "model.tflite").write_bytes(b"model")
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path


def test_a_folder_as_listed_passes_whatever_its_manifest_says(release: Path) -> None:
    listed = digests(release, leave_out="manifest.json")
    assert listed.keys() == {"index/vectors.faiss", "model.tflite"}
    (release / "manifest.json").write_text('{"later": true}')
    check_digests(release, listed, leave_out="manifest.json")


@pytest.mark.parametrize("damage", ["change", "add", "remove", "add deep"])
def test_a_changed_an_added_or_a_missing_file_is_refused_by_name(release: Path, damage: str) -> None:
    listed = digests(release, leave_out="manifest.json")
    damaged = {
        "change": release / "model.tflite",
        "add": release / "extra.pkl",
        "remove": release / "index" / "vectors.faiss",
        "add deep": release / "index" / "manifest.json",
    }[damage]
    damaged.unlink() if damage == "remove" else damaged.write_bytes(b"modeL")
    with pytest.raises(InputError, match=damaged.relative_to(release).as_posix()):
        check_digests(release, listed, leave_out="manifest.json")


class Recorder:
    """What reached the disk: which files and folders were flushed, in which order with the renames, as a loss of power sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, flush: bool = True) -> None:
        self.steps: list[tuple[str, str]] = []
        fsync, rename = os.fsync, Path.rename

        def flushed(descriptor: int) -> None:
            if flush:
                fsync(descriptor)
                self.steps.append(("flush", str(Path(f"/proc/self/fd/{descriptor}").readlink())))

        def renamed(path: Path, target: Path) -> Path:
            self.steps.append(("rename", str(target)))
            return rename(path, target)

        monkeypatch.setattr(os, "fsync", flushed)
        monkeypatch.setattr(Path, "rename", renamed)

    def unsafe(self, target: Path, files: list[str]) -> list[str]:
        """What a loss of power after the return could take away."""
        if ("rename", str(target)) not in self.steps:
            return ["the rename"]
        at = self.steps.index(("rename", str(target)))
        staged = target.with_name(f".{target.name}.staged")
        before = [path for step, path in self.steps[:at] if step == "flush"]
        after = [path for step, path in self.steps[at:] if step == "flush"]
        needed = [str(staged), *(str(staged / name) for name in files)]
        return [path for path in needed if path not in before] + ([] if str(target.parent) in after else ["the rename"])


@pytest.mark.parametrize("flush", [True, False], ids=["as it is", "without a flush"])
def test_nothing_that_was_published_is_lost_with_the_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: bool) -> None:
    """Files and folders are flushed before the rename, the folder around them after it; the control flushes nothing."""
    recorder = Recorder(monkeypatch, flush)
    with publishing(tmp_path / "release") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "data").write_text("x")
        write_json(folder / "receipt.json", {})
    unsafe = recorder.unsafe(tmp_path / "release", ["inner", "inner/data", "receipt.json"])
    assert (unsafe == []) == flush
