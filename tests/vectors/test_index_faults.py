"""What an index survives: kills, damaged files, full disks, concurrent readers and writers.

Rows I1, I2, I3, I4, I6 and I8 of the fault table.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.vectors.index import Index
from vectors.publisher import SIZE, append, champion, contents
from vectors.reference import ORIGIN, Dictionary, products, unit

pytestmark = pytest.mark.process

KILLS = 12
TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TESTS)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    champion().save(tmp_path / "champion")
    return tmp_path / "champion"


def expected_after(source: Path, step: int) -> dict[str, tuple[object, ...]]:
    index = Index.open(source, writable=True)
    append(index, step)
    return contents(index)


def kill_a_publisher(source: Path, workspace: Path, after: float, *control: str) -> int:
    """Let it publish for `after` seconds, kill it, and return the last publication that it acknowledged."""
    command = [sys.executable, "-m", "vectors.publisher", str(source), str(workspace), *control]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdout
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    printed = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    return int(printed[-1]) if printed else 0


@pytest.mark.drill
def test_a_publisher_killed_at_any_moment_leaves_the_old_or_the_new_index(
    source: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Checks every key and vector, and that the champion's files did not change."""
    before = digests(source)
    for wait in np.random.default_rng(0).uniform(0, 0.4, KILLS + pytestconfig.getoption("--kills")):
        shutil.rmtree(tmp_path / "workspace", ignore_errors=True)
        acknowledged = kill_a_publisher(source, tmp_path / "workspace" / "index", wait)
        if acknowledged or (tmp_path / "workspace" / "index").exists():
            index = Index.open(tmp_path / "workspace" / "index")
            assert index.metadata.cursor.version in (acknowledged, acknowledged + 1)
            assert contents(index) == expected_after(source, index.metadata.cursor.version)
        index = Index.open(source, writable=True)
        append(index, 5)
        index.save(tmp_path / "workspace" / "index")
        assert contents(Index.open(tmp_path / "workspace" / "index")) == expected_after(source, 5)
        assert [path.name for path in (tmp_path / "workspace").iterdir()] == ["index"]
    assert digests(source) == before


def test_control_kills_tear_an_index_that_is_written_in_place(source: Path, tmp_path: Path) -> None:
    torn = 0
    for wait in np.random.default_rng(1).uniform(0.05, 0.4, 40):
        kill_a_publisher(source, tmp_path / "index", wait, "in-place")
        try:
            Index.open(tmp_path / "index")
        except InputError:
            torn += 1
            break
    assert torn


def damaged(data: bytes, rng: np.random.Generator) -> list[bytes]:
    """Every byte of the head inverted, 200 bits flipped anywhere, and the file cut at 20 places."""
    flipped = []
    for place in [*range(min(len(data), 64)), *rng.integers(0, len(data), 200)]:
        changed = bytearray(data)
        changed[place] ^= 255 if place < 64 else 1 << int(rng.integers(8))
        flipped.append(bytes(changed))
    return flipped + [data[: int(cut)] for cut in rng.integers(0, len(data), 20)]


@pytest.mark.parametrize("name", ["vectors.faiss", "items.arrow"])
def test_a_damaged_file_is_refused_by_name_before_a_library_reads_it(
    source: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "recsim_tasks.vectors.faiss_store.faiss.read_index",
        lambda *_: pytest.fail("FAISS was given the file"),
    )
    monkeypatch.setattr(
        "recsim_tasks.vectors.product_table.pa.memory_map", lambda *_: pytest.fail("Arrow was given the file")
    )
    data = (source / name).read_bytes()
    for changed in damaged(data, np.random.default_rng(0)):
        (
            source / name
        ).unlink()  # published files may be hard links and memory-mapped: replace, do not write into them
        (source / name).write_bytes(changed)
        for writable in (False, True):
            with pytest.raises(InputError, match=name):
                Index.open(source, writable=writable)


def test_missing_added_and_swapped_files_are_refused(source: Path, tmp_path: Path) -> None:
    def refused(damage: str) -> None:
        with pytest.raises(InputError, match="does not match its manifest"):
            Index.open(tmp_path / damage)

    for damage in ("missing", "added", "swapped"):
        shutil.copytree(source, tmp_path / damage)
    (tmp_path / "missing" / "items.arrow").unlink()
    (tmp_path / "added" / "extra").write_text("x")
    (tmp_path / "swapped" / "items.arrow").rename(tmp_path / "swapped" / "x")
    (tmp_path / "swapped" / "vectors.faiss").rename(tmp_path / "swapped" / "items.arrow")
    (tmp_path / "swapped" / "x").rename(tmp_path / "swapped" / "vectors.faiss")
    for damage in ("missing", "added", "swapped"):
        refused(damage)


def test_control_without_digests_a_damaged_file_is_accepted_or_crashes(source: Path) -> None:
    """The control: in a process of its own, for what a native library does with such a file."""
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from unittest import mock
        from recsim_tasks.vectors.index import Index
        with mock.patch("recsim_tasks.vectors.index.check_digests"):
            index = Index.open(Path(sys.argv[1]), writable=True)
        print(len(index.all_vectors()[0]))
    """)
    data = bytearray((source / "vectors.faiss").read_bytes())
    data[len(data) // 2] ^= 1
    (source / "vectors.faiss").write_bytes(data)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(source)], capture_output=True, text=True, check=False
    )
    assert ended.returncode < 0 or ended.stdout.strip() == str(SIZE)


def test_an_open_index_answers_after_its_files_are_replaced_or_removed(source: Path, tmp_path: Path) -> None:
    """Two readers, and 50 publications over what they read from."""
    folder, queries = tmp_path / "index", unit(20, seed=9)
    shutil.copytree(source, folder)
    readers = [Index.open(folder) for _ in range(2)]
    expected = readers[0].search(queries, 10)
    for step in range(1, 51):
        index = Index.open(folder, writable=True)
        append(index, step)
        index.save(folder)
        assert all(reader.search(queries, 10) == expected for reader in readers)
    shutil.rmtree(folder)
    assert all(reader.search(queries, 10) == expected for reader in readers)
    assert index.search(queries, 10) != expected


PUBLISH_ONCE = textwrap.dedent("""
    import sys
    from pathlib import Path
    from recsim_tasks.vectors.index import Index
    from vectors.publisher import append
    index = Index.open(Path(sys.argv[1]), writable=True)
    append(index, 7)
    index.save(Path(sys.argv[2]))
""")


def publish_once(
    source: Path, target: Path, *before: str, limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [*before, sys.executable, "-c", PUBLISH_ONCE, str(source), str(target)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=ENVIRONMENT, preexec_fn=limited
    )


def test_a_failed_write_leaves_the_old_index_and_the_next_try_succeeds(source: Path, tmp_path: Path) -> None:
    target, largest = tmp_path / "workspace" / "index", max(path.stat().st_size for path in source.iterdir())
    assert publish_once(source, target).returncode == 0
    expected, before = digests(target), digests(source)
    for limit in np.linspace(0, largest - 1, 8).astype(int):
        failed = publish_once(source, target, limit=int(limit))
        assert failed.returncode != 0
        assert (digests(target), digests(source)) == (expected, before)
        assert [path.name for path in target.parent.iterdir()] == ["index"]
    assert publish_once(source, target).returncode == 0
    assert digests(target) == expected


def test_a_full_disk_leaves_the_old_index_and_the_next_try_succeeds(source: Path, tmp_path: Path) -> None:
    """A tmpfs that holds the index once and not twice, mounted in a namespace of its own."""
    script = textwrap.dedent("""
        set -e
        python=$0 source=$1 disk=$2 program=$3
        mount -t tmpfs -o size=300k none "$disk"
        publish() { "$python" -c "$program" "$source" "$disk/index"; }
        publish
        before=$(sha256sum "$disk"/index/* | sort)
        dd if=/dev/zero of="$disk/filling" bs=1k 2>/dev/null || true
        if publish 2> "$disk.said"; then echo "published on a full disk"; exit 9; fi
        test "$before" = "$(sha256sum "$disk"/index/* | sort)"
        test "$(ls -A "$disk" | sort | xargs)" = "filling index"
        rm "$disk/filling"
        publish
        test "$before" = "$(sha256sum "$disk"/index/* | sort)"
    """)
    (tmp_path / "small").mkdir()
    namespace = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run(
        [*namespace, "mount", "-t", "tmpfs", "none", str(tmp_path / "small")],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip("this kernel allows no mount namespace; the test above fails the same writes")
    command = [
        *namespace,
        "bash",
        "-c",
        script,
        sys.executable,
        str(source),
        str(tmp_path / "small"),
        PUBLISH_ONCE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No space left on device" in (tmp_path / "small.said").read_text()


@pytest.mark.parametrize("exact_below", [10**6, 1], ids=["exact", "inverted lists"])
def test_a_product_replaced_a_thousand_times_has_one_vector(exact_below: int) -> None:
    index = Index.build(products([f"p-{n}" for n in range(50)]), unit(50), ORIGIN, exact_below)
    vectors = unit(1_000, seed=3)
    for step, vector in enumerate(vectors):
        if step % 10 == 9:
            assert index.remove(["p-7"]) == 1
        index.upsert(products(["p-7"]), vector[None])
    assert np.array_equal(index.vector("p-7"), vectors[-1])
    found = index.search(vectors[-1:], 50)[0]
    assert (len(index), [hit.product_id for hit in found].count("p-7")) == (50, 1)


def test_recall_survives_churn_compaction_and_a_restart(tmp_path: Path) -> None:
    """Row I4: 30% of the products went and as many came."""
    vectors = unit(4_000, seed=5)
    index = Index.build(products([f"p-{n}" for n in range(3_000)]), vectors[:3_000], ORIGIN, 1)
    index.remove([f"p-{n}" for n in range(900)])
    index.upsert(products([f"p-{n}" for n in range(3_000, 3_900)]), vectors[3_000:3_900])
    queries, exact = vectors[3_900:], Dictionary(vectors[900:3_900], np.arange(900, 3_900))
    names = [{f"p-{key}" for key in row} for row in exact.search(queries, 10)[1].tolist()]

    def found(index: Index) -> float:
        answers = zip(index.search(queries, 10), names, strict=True)
        return float(np.mean([len({hit.product_id for hit in hits} & near) / 10 for hits, near in answers]))

    compacted = Index.build(index.products, index.all_vectors()[1], ORIGIN, 1)
    assert found(index) >= found(compacted) - 0.005 > 0.95
    index.save(tmp_path / "index")
    assert Index.open(tmp_path / "index").search(queries, 10) == index.search(queries, 10)
