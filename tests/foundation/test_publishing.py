from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from recsim_tasks.foundation import publishing as publishing_module
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import check_digests, digests, publishing, write_json

pytestmark = pytest.mark.process

FILES = 12
KILLS = 20
# Publishes generation after generation of a folder until it is killed.
PUBLISHER = f"""
import os
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
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISHER.replace("WAY", way), str(target)], stdout=subprocess.PIPE
    ) as publisher:
        assert publisher.stdout
        publisher.stdout.readline()
        time.sleep(after)
        publisher.kill()


def is_whole(target: Path) -> bool:
    """Whether every file is there and all are of one generation."""
    contents = {
        (target / "inner" / str(number)).read_text()
        for number in range(FILES)
        if (target / "inner" / str(number)).exists()
    }
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


def test_what_a_killed_try_left_is_not_published_and_is_removed_by_the_next(tmp_path: Path) -> None:
    work = "fill(folder, 1); print('filled', flush=True); os.kill(os.getpid(), 9)"
    dies = f"with publishing(target) as folder: {work}"
    run_and_kill(tmp_path / "release", dies, 1)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".release")], (
        "the control: the kill left something"
    )
    with publishing(tmp_path / "release") as folder:
        (folder / "a").write_text("a")
    assert [path.name for path in (tmp_path / "release").iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_leftover_that_cannot_be_removed_keeps_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: Path) -> None:
        raise PermissionError

    (tmp_path / f".a{publishing_module.STAGED}1").touch()
    monkeypatch.setattr(publishing_module, "remove", forbidden)
    before = len(list(Path("/proc/self/fd").iterdir()))
    publishing_module._remove_leftovers(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_another_process_has_staged_is_left_alone(tmp_path: Path) -> None:
    with publishing(tmp_path / "release") as folder:
        with publishing(tmp_path / "release") as other:
            (other / "a").write_text("first")
        assert folder.exists()
        (folder / "a").write_text("second")
    assert (tmp_path / "release" / "a").read_text() == "second"


def test_two_that_publish_side_by_side_do_not_collide(tmp_path: Path) -> None:
    """Without a lease, as two downloads of one release do."""

    def publish(number: int) -> None:
        for _ in range(30):
            with publishing(tmp_path / "release") as folder:
                (folder / "a").write_text(str(number))
                (folder / "b").write_text(str(number))
            write_json(tmp_path / "receipt.json", number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(4)))
    assert (tmp_path / "release" / "a").read_text() == (tmp_path / "release" / "b").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["receipt.json", "release"]


@pytest.mark.parametrize("existing", ["a file", "a link to a folder", "a link to nothing", "an empty folder"])
def test_anything_at_the_target_is_replaced(tmp_path: Path, existing: str) -> None:
    target, elsewhere = tmp_path / "release", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    if existing == "a file":
        target.write_text("x")
    elif existing == "an empty folder":
        target.mkdir()
    else:
        target.symlink_to(elsewhere if existing == "a link to a folder" else tmp_path / "nowhere")
    with publishing(target) as folder:
        (folder / "a").write_text("a")
    assert [path.name for path in target.iterdir()] == ["a"]
    assert not target.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "release"]
    assert (elsewhere / "kept").read_text() == "kept"


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


@pytest.mark.parametrize(
    "damage", ["change", "add", "remove", "add deep", "link to the same", "link to a folder", "pipe"]
)
def test_a_changed_an_added_or_a_missing_file_is_refused_by_name(
    release: Path, damage: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    listed = digests(release, leave_out="manifest.json")
    damaged = {
        "change": release / "model.tflite",
        "add": release / "extra.pkl",
        "remove": release / "index" / "vectors.faiss",
        "add deep": release / "index" / "manifest.json",
        "link to the same": release / "model.tflite",
        "link to a folder": release / "more",
        "pipe": release / "index" / "pipe",
    }[damage]
    if damage == "pipe":
        os.mkfifo(damaged)
    elif damage == "remove":
        damaged.unlink()
    elif damage.startswith("link"):
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        damaged.replace(elsewhere / "kept") if damaged.exists() else None
        damaged.symlink_to(elsewhere / "kept" if damage == "link to the same" else elsewhere)
    else:
        damaged.write_bytes(b"modeL")
    with pytest.raises(InputError, match=damaged.relative_to(release).as_posix()):
        check_digests(release, listed, leave_out="manifest.json")


class Recorder:
    """What a loss of power leaves: which files and folders were flushed, in order with the renames."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, flush: bool = True) -> None:
        self.steps: list[tuple[str, str]] = []
        self.staged: Path | None = None
        fsync, rename, replace, mkdir = os.fsync, Path.rename, Path.replace, Path.mkdir

        def flushed(descriptor: int) -> None:
            if flush:
                fsync(descriptor)
                self.steps.append(("flush", str(Path(f"/proc/self/fd/{descriptor}").readlink())))

        def renamed(path: Path, target: Path) -> Path:
            self.steps.append(("rename", str(target)))
            self.staged = path
            return rename(path, target)

        def replaced(path: Path, target: Path) -> Path:
            self.steps.append(("rename", str(target)))
            return replace(path, target)

        def made(path: Path, *args: object, **kwargs: object) -> None:
            existed = path.exists()
            mkdir(path, *args, **kwargs)  # type: ignore[arg-type]
            if not existed:
                self.steps.append(("make", str(path)))

        monkeypatch.setattr(os, "fsync", flushed)
        monkeypatch.setattr(Path, "rename", renamed)
        monkeypatch.setattr(Path, "replace", replaced)
        monkeypatch.setattr(Path, "mkdir", made)

    def unsafe(self, target: Path, files: list[str]) -> list[str]:
        """What a loss of power after the return could take away."""
        if ("rename", str(target)) not in self.steps:
            return ["the rename"]
        at = self.steps.index(("rename", str(target)))
        staged = self.staged
        before = [path for step, path in self.steps[:at] if step == "flush"]
        after = [path for step, path in self.steps[at:] if step == "flush"]
        assert staged is not None
        needed = [str(staged), *(str(staged / name) for name in files)]
        return [path for path in needed if path not in before] + (
            [] if str(target.parent) in after else ["the rename"]
        )


@pytest.mark.parametrize("flush", [True, False], ids=["as it is", "without a flush"])
def test_nothing_that_was_published_is_lost_with_the_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: bool
) -> None:
    """Files and folders are flushed before the rename, their parent after it; the control flushes nothing."""
    recorder = Recorder(monkeypatch, flush)
    with publishing(tmp_path / "release") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "data").write_text("x")
        write_json(folder / "receipt.json", {})
    unsafe = recorder.unsafe(tmp_path / "release", ["inner", "inner/data", "receipt.json"])
    assert (unsafe == []) == flush


@pytest.mark.parametrize("flush", [True, False], ids=["as it is", "without a flush"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_new_folders_around_what_was_published_are_not_lost_with_the_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, flush: bool
) -> None:
    """A new refresh makes `refreshes/ID`: each new folder is flushed before its content is published."""
    recorder = Recorder(monkeypatch, flush)
    target = tmp_path / "refreshes" / "one" / kind
    if kind == "file":
        write_json(target, {})
    else:
        with publishing(target) as folder:
            (folder / "data").write_text("x")
    renamed = recorder.steps.index(("rename", str(target)))
    new = [
        path
        for step, path in recorder.steps[:renamed]
        if step == "make" and not Path(path).name.startswith(".")
    ]
    assert set(new) == {str(tmp_path / "refreshes"), str(tmp_path / "refreshes" / "one")}
    before = [path for step, path in recorder.steps[:renamed] if step == "flush"]
    assert ({str(Path(path).parent) for path in new} <= set(before)) == flush
    assert (("flush", str(target.parent)) in recorder.steps[renamed:]) == flush
