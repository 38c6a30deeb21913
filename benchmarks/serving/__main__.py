"""`make bench-serving`: one release behind `recsim serve` and behind `mlflow models serve`, asked in turns, printed side by side."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from benchmarks.report import Measure, last_line, machine, table
from benchmarks.serving import release
from benchmarks.serving.busy import beside_busy_cores
from benchmarks.serving.load import NEIGHBOURS, Answered, ask, need_wrk, write_bodies
from benchmarks.serving.plot import draw
from benchmarks.serving.servers import Server, mlflows, ours
from benchmarks.vectors.bench import Bench
from recsim_demo.dataset import fashion_mnist
from recsim_demo.feeds import png
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from recsim_tasks.vectors.filters import Filters

PICTURE = Path("docs/images/bench-serving.png")
CLIENTS = (1, 8, 32)
# How many times MLflow's own server, by goal P8.
TIMES = {1: 3.0, 8: 3.5, 32: 4.0}
WARM_SECONDS = 2
FLOOR_QUESTIONS = 2_000


def main() -> None:
    """Measure, print, draw."""
    arguments = _arguments()
    need_wrk()
    for name in [name for name in os.environ if name.startswith("RECSIM_")]:
        del os.environ[name]
    before = machine("fastapi", "uvicorn", "mlflow", "ai-edge-litert", "faiss-cpu")
    bench, data = Bench(), fashion_mnist()
    with tempfile.TemporaryDirectory(prefix="recsim-bench-") as folder:
        settings = load_settings().model_copy(update={"home": Path(folder, "home")})
        bundle = release.make(settings, data, arguments.products, Path(folder, "made"))
        bodies = write_bodies([png(image) for image in data.test_images[:500]], Path(folder, "bodies"))
        _floor(bench, Release.open(bundle), [png(image) for image in data.test_images[:FLOOR_QUESTIONS]])
        beside_busy_cores(bench, arguments.rounds)
        bench.figure(
            "first, MiB", release.stored_mib(settings, version := release.register(settings, bundle, "first"))
        )
        Promotions(Registry(settings)).promote(version)
        bench.figure(
            "append, MiB", release.stored_mib(settings, release.register(settings, bundle, "append"))
        )
        for _ in range(arguments.rounds):
            _round(bench, settings, version, bodies, arguments)
        _swap(bench, settings, bundle, bodies, arguments)
    lines = measures(bench)
    print(
        f"{before} before, {os.getloadavg()[0]:.1f} after; median of {arguments.rounds} rounds, {arguments.workers} workers each.\n"
    )
    print(table(lines), "")
    if arguments.plot:
        draw(bench, CLIENTS, arguments.plot)
        print(f"Plot: {arguments.plot}")
    print(last_line(lines))


def measures(bench: Bench) -> list[Measure]:
    """The lines of the table, each beside its goal."""
    lines = [
        Measure(
            f"P8_{n}",
            f"answers/s, {n} clients",
            1 / bench.median(f"ours, {n}"),
            1 / bench.median(f"mlflow, {n}"),
            "mlflow models serve",
            "of",
            TIMES[n],
            unit="answers/s",
        )
        for n in CLIENTS
    ]
    lines += [
        Measure(
            f"P8_p99_{n}",
            f"p99, {n} clients",
            bench.median(f"ours, {n}, p99"),
            bench.median(f"mlflow, {n}, p99"),
            "mlflow models serve",
        )
        for n in CLIENTS
    ]
    return [
        *lines,
        Measure("P8_ready", "from start to ready", bench.median("ours, ready"), bench.median("mlflow, ready"), "mlflow models serve", goal=0.15),
        Measure("P8_memory", "memory of all processes", bench.figures["ours, MiB"], bench.figures["mlflow, MiB"], "mlflow models serve", goal=0.2, unit="MiB"),
        Measure("P9", "one request, median", bench.median("ours, 1, p50"), bench.median("floor"), "decode, embed, search in a bare loop", goal=2.0),
        Measure("P16", "one query of 19,999 products, all cores busy", bench.median("flat, busy"), bench.median("flat, idle"), "all cores idle", goal=3.0),
        Measure("stored", "what the registry stores for an append", bench.figures["append, MiB"], bench.figures["first, MiB"], "for the release before", unit="MiB"),
        Measure("swap", "from a promotion to the first answer of it", bench.median("swap"), bench.median("look"), "what lies between two looks at the registry"),
        Measure("swap_p99", "p99 while releases are swapped, 8 clients", bench.median("swapping, p99"), bench.median("ours, 8, p99"), "without"),
    ]  # fmt: skip


def _floor(bench: Bench, opened: Release, pictures: list[bytes]) -> None:
    for picture in pictures[:50]:
        opened.similar(picture, NEIGHBOURS, Filters())
    for picture in pictures:
        began = time.perf_counter()
        opened.similar(picture, NEIGHBOURS, Filters())
        bench.times["floor"].append(time.perf_counter() - began)


def _round(
    bench: Bench, settings: Settings, version: int, bodies: Path, arguments: argparse.Namespace
) -> None:
    with ours(settings, arguments.workers) as mine, mlflows(settings, arguments.workers, version) as theirs:
        for name, server in (("ours", mine), ("mlflow", theirs)):
            bench.note(f"{name}, ready", server.ready_seconds)
            ask(server.address, 8, WARM_SECONDS, bodies)
        for clients in CLIENTS:
            for name, server in (("ours", mine), ("mlflow", theirs)):
                _note(bench, f"{name}, {clients}", ask(server.address, clients, arguments.seconds, bodies))
        for name, server in (("ours", mine), ("mlflow", theirs)):
            bench.figure(f"{name}, MiB", server.mib())


def _note(bench: Bench, name: str, found: Answered) -> None:
    bench.note(name, 1 / found.rate)
    bench.note(f"{name}, p50", found.p50_ms / 1000)
    bench.note(f"{name}, p99", found.p99_ms / 1000)


def _swap(
    bench: Bench, settings: Settings, bundle: Path, bodies: Path, arguments: argparse.Namespace
) -> None:
    """Promote again and again under the load of 8 clients."""
    registry = Registry(settings)
    with ours(settings, arguments.workers) as server:
        bench.note("look", 0.2)
        for number in range(arguments.rounds):
            version = release.register(settings, bundle, f"swap {number}")
            found: list[Answered] = []
            load = threading.Thread(
                target=lambda found=found: found.append(ask(server.address, 8, arguments.seconds, bodies))
            )
            load.start()
            time.sleep(arguments.seconds / 4)
            began = time.perf_counter()
            Promotions(registry).promote(version)
            bench.note("swap", _first_answer(server, version) - began)
            load.join()
            bench.note("swapping, p99", found[0].p99_ms / 1000)


def _first_answer(server: Server, version: int) -> float:
    with httpx.Client(base_url=server.address, timeout=30) as client:
        while client.get("/health/ready").json().get("release") != version:
            time.sleep(0.01)
    return time.perf_counter()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-serving", description=__doc__)
    parser.add_argument(
        "--products",
        type=int,
        default=60_000,
        help="products of the release, 60,000 at most (default %(default)s)",
    )
    parser.add_argument("--seconds", type=int, default=10, help="of load each time (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="tries of each (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="of both servers (default %(default)s)")
    parser.add_argument(
        "--plot", type=Path, nargs="?", const=PICTURE, help=f"draw a picture (default {PICTURE})"
    )
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
