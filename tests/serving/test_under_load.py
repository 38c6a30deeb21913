"""A real server under constant load, while releases are swapped and workers die."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from release.registered import register, set_production
from release.servers import free_port, running, script
from serving.load import LoadGenerator, wait_for

pytestmark = [pytest.mark.server, pytest.mark.drill]
CLIENTS, WORKERS = 8, 2


@dataclass
class Served:
    """A server of release 1, and the registry that it follows."""

    address: str
    process: psutil.Process
    registry: Registry
    other: Path
    """A bundle whose products all end in -b."""

    def workers(self) -> list[psutil.Process]:
        """Those that answer; Python's resource tracker is a child as well."""
        found = []
        for child in self.process.children():
            with suppress(psutil.Error):  # it has just ended
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def memory(self) -> int:
        return sum(worker.memory_info().rss for worker in self.workers())


def environment(home: Settings, port: int) -> dict[str, str]:
    return {
        "RECSIM_HOME": str(home.home),
        "RECSIM_PORT": str(port),
        "RECSIM_SERVING_POLL_SECONDS": "0.1",
        "RECSIM_SERVING_WORKERS": str(WORKERS),
        "MLFLOW_TRACKING_URI": home.tracking_uri,
    }


@pytest.fixture
def served(home: Settings, tmp_path: Path) -> Iterator[Served]:
    registry, port = Registry(home), free_port()
    set_production(registry, 1)
    address = f"http://127.0.0.1:{port}"
    with running(
        [script("recsim"), "serve"],
        f"{address}/health/ready",
        tmp_path / "serve.log",
        environment(home, port),
    ) as process:
        yield Served(address, psutil.Process(process.pid), registry, home.home / "made" / "2" / "release")


def releases(answers: set[tuple[int, str | None, int, frozenset[str]]]) -> set[tuple[int, int, bool]]:
    """Status, release, and whether products, header and body are all of that release, of each kind of answer.

    Products of all releases but 1 end in -b.
    """
    return {
        (
            status,
            version,
            header == str(version) and all(end.startswith("-b") == (version > 1) for end in ends),
        )
        for status, header, version, ends in answers
    }


def test_twenty_swaps_under_load_fail_no_request_and_mix_no_response(
    served: Served,
) -> None:
    promotions, load = Promotions(served.registry), LoadGenerator(served.address, CLIENTS)
    versions = [
        register(served.registry, served.other, refresh=f"drill {number}", against=1) for number in range(20)
    ]
    with load.running():
        for version in versions:
            promotions.promote(version, "ada")
            wait_for(served.address, version)
            promotions.rollback(None, "a drill", "ada")
            wait_for(served.address, 1)
            promotions.resume("ada")
    print(f"{len(versions)} promotions and rollbacks, {len(load.answers)} answers, {len(load.failed)} failed")
    assert load.failed == []
    assert releases(set(load.answers)) == {(200, version, True) for version in (1, *versions)}
    assert len(load.answers) > 1000
    entries = promotions.history()
    assert [entry.version for entry in entries[-4:]] == [versions[-2], 1, versions[-1], 1]
    assert entries[-1].why == f"rolled back from {versions[-1]}: a drill"
    assert counted(served.address, "recsim_requests_total", 'route="/v1/similar"') == len(load.answers)


def test_a_killed_worker_loses_at_most_its_own_requests_and_is_replaced(
    served: Served,
) -> None:
    load = LoadGenerator(served.address, CLIENTS)
    with load.running():
        for _ in range(3):
            until(lambda: len(served.workers()) == WORKERS)
            before, victim = len(load.answers), served.workers()[0]
            victim.send_signal(signal.SIGKILL)
            until(
                lambda: (
                    len(served.workers()) == WORKERS
                    and victim.pid not in {worker.pid for worker in served.workers()}  # noqa: B023
                )
            )
            until(lambda: len(load.answers) > before + 200)  # noqa: B023
    assert len(load.failed) <= 3 * CLIENTS
    assert releases(set(load.answers)) == {(200, 1, True)}
    until(lambda: counted(served.address, "recsim_release", "") == 1)


def test_fifty_swaps_under_load_leak_neither_memory_nor_files(served: Served) -> None:
    load, memory, files = LoadGenerator(served.address, CLIENTS), [], []
    with load.running():
        for number in range(50):
            set_production(served.registry, 2 - number % 2)
            wait_for(served.address, 2 - number % 2)
            time.sleep(2)
            memory.append(served.memory())
            files.append(sum(worker.num_fds() for worker in served.workers()))
    assert load.failed == []
    early, late = sorted(memory[10:20]), sorted(memory[-10:])
    print(
        f"memory of {WORKERS} workers, MiB: {[round(each / 2**20) for each in memory]}; "
        f"answers: {len(load.answers)}"
    )
    assert late[5] < early[5] * 1.05
    assert max(files[-10:]) <= max(files[10:20]) + CLIENTS


def test_a_full_disk_keeps_the_old_release_until_there_is_room(home: Settings, tmp_path: Path) -> None:
    """Fetched releases are on a file system for one and a half of them, in a mount namespace."""
    registry, port = Registry(home), free_port()
    set_production(registry, 1)
    folder, address = home.home / "releases", f"http://127.0.0.1:{port}"
    folder.mkdir()
    files = [file for file in (home.home / "made" / "1" / "release").rglob("*") if file.is_file()]
    pages = sum(file.stat().st_size // 4096 + 1 for file in files)
    start = (
        f"mount -t tmpfs -o size={4 * (pages + pages // 2)}k none {folder} && exec {script('recsim')} serve"
    )
    with running(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", start],
        f"{address}/health/ready",
        tmp_path / "serve.log",
        environment(home, port),
    ) as process:
        set_production(registry, 2)
        wait_for(address, 1, "release_unavailable")
        inside = ["nsenter", "--target", str(process.pid), "--user", "--mount"]
        subprocess.run([*inside, "mount", "-o", "remount,size=64m", str(folder)], check=True)
        wait_for(address, 2)


def until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def counted(address: str, name: str, labels: str) -> float:
    """A measure, summed over its labels."""
    lines = [
        line
        for line in httpx.get(f"{address}/metrics").text.splitlines()
        if re.match(rf"{name}(\{{|\s)", line) and labels in line
    ]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
