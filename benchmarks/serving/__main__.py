"""`make bench-serving`: compare `recsim serve` with `mlflow models serve` on one release, in turns."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from benchmarks.bench import Bench
from benchmarks.report import Measure, last_line, machine, table
from benchmarks.serving import release
from benchmarks.serving.busy_cores import beside_busy_cores
from benchmarks.serving.load import NEIGHBOURS, LoadResult, require_wrk, run_load, write_bodies
from benchmarks.serving.plot import draw
from benchmarks.serving.servers import POLL_SECONDS, Server, mlflow_server, recsim_server
from recsim_demo.fashion_mnist import load as load_fashion_mnist
from recsim_demo.feeds import png
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from recsim_tasks.vectors.filters import Filters

PLOT = Path("docs/images/bench-serving.png")
CLIENTS = (1, 8, 32)
# Requests per second relative to MLflow's server, by number of clients: goal P8.
MIN_SPEEDUP = {1: 3.0, 8: 3.5, 32: 4.0}
WARM_SECONDS = 2
FLOOR_QUERIES = 2_000


def main() -> None:
    """Measure, print, draw."""
    arguments = _arguments()
    require_wrk()
    for name in [name for name in os.environ if name.startswith("RECSIM_")]:
        del os.environ[name]
    before = machine("fastapi", "uvicorn", "mlflow", "ai-edge-litert", "faiss-cpu")
    bench, data = Bench(), load_fashion_mnist()
    with tempfile.TemporaryDirectory(prefix="recsim-bench-") as folder:
        settings = load_settings().model_copy(update={"home": Path(folder, "home")})
        bundle = release.make(settings, data, arguments.products, Path(folder, "made"))
        bodies = write_bodies([png(image) for image in data.test_images[:500]], Path(folder, "bodies"))
        _floor(bench, Release.open(bundle), [png(image) for image in data.test_images[:FLOOR_QUERIES]])
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
        f"{before} before, {os.getloadavg()[0]:.1f} after; "
        f"median of {arguments.rounds} rounds, {arguments.workers} workers each.\n"
    )
    print(table(lines), "")
    if arguments.plot:
        draw(bench, CLIENTS, arguments.plot)
        print(f"Plot: {arguments.plot}")
    print(last_line(lines))


def measures(bench: Bench) -> list[Measure]:
    """Return the lines of the table, with their goals."""
    lines = [
        Measure(
            f"P8_{n}",
            f"responses/s, {n} clients",
            1 / bench.median(f"ours, {n}"),
            1 / bench.median(f"mlflow, {n}"),
            "mlflow models serve",
            "of",
            MIN_SPEEDUP[n],
            unit="responses/s",
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
        Measure(
            "P8_ready",
            "from start to ready",
            bench.median("ours, ready"),
            bench.median("mlflow, ready"),
            "mlflow models serve",
            goal=0.15,
        ),
        Measure(
            "P8_memory",
            "memory of all processes",
            bench.figures["ours, MiB"],
            bench.figures["mlflow, MiB"],
            "mlflow models serve",
            goal=0.2,
            unit="MiB",
        ),
        Measure(
            "P9",
            "one request, median",
            bench.median("ours, 1, p50"),
            bench.median("floor"),
            "decode, embed and search in a bare loop",
            goal=2.0,
        ),
        Measure(
            "P16",
            "one query of 19,999 products, all cores busy",
            bench.median("flat, busy"),
            bench.median("flat, idle"),
            "all cores idle",
            goal=3.0,
        ),
        Measure(
            "stored",
            "stored in the registry for an append",
            bench.figures["append, MiB"],
            bench.figures["first, MiB"],
            "for the first release",
            unit="MiB",
        ),
        Measure(
            "swap",
            "from a promotion to its first response",
            bench.median("swap"),
            bench.median("poll"),
            "time between two polls of the registry",
        ),
        Measure(
            "swap_p99",
            "p99 while releases are swapped, 8 clients",
            bench.median("swapping, p99"),
            bench.median("ours, 8, p99"),
            "without",
        ),
    ]


def _floor(bench: Bench, opened: Release, images: list[bytes]) -> None:
    for image in images[:50]:
        opened.similar(image, NEIGHBOURS, Filters())
    for image in images:
        began = time.perf_counter()
        opened.similar(image, NEIGHBOURS, Filters())
        bench.times["floor"].append(time.perf_counter() - began)


def _round(
    bench: Bench, settings: Settings, version: int, bodies: Path, arguments: argparse.Namespace
) -> None:
    with (
        recsim_server(settings, arguments.workers) as ours,
        mlflow_server(settings, arguments.workers, version) as mlflow,
    ):
        for name, server in (("ours", ours), ("mlflow", mlflow)):
            bench.note(f"{name}, ready", server.ready_seconds)
            run_load(server.address, 8, WARM_SECONDS, bodies)
        for clients in CLIENTS:
            for name, server in (("ours", ours), ("mlflow", mlflow)):
                _note(
                    bench, f"{name}, {clients}", run_load(server.address, clients, arguments.seconds, bodies)
                )
        for name, server in (("ours", ours), ("mlflow", mlflow)):
            bench.figure(f"{name}, MiB", server.mib())


def _note(bench: Bench, name: str, result: LoadResult) -> None:
    bench.note(name, 1 / result.rate)
    bench.note(f"{name}, p50", result.p50_ms / 1000)
    bench.note(f"{name}, p99", result.p99_ms / 1000)


def _swap(
    bench: Bench, settings: Settings, bundle: Path, bodies: Path, arguments: argparse.Namespace
) -> None:
    """Promote repeatedly under the load of 8 clients."""
    registry = Registry(settings)
    with recsim_server(settings, arguments.workers) as server:
        bench.note("poll", POLL_SECONDS)
        for number in range(arguments.rounds):
            version = release.register(settings, bundle, f"swap {number}")
            results: list[LoadResult] = []
            load = threading.Thread(
                target=lambda results=results: results.append(
                    run_load(server.address, 8, arguments.seconds, bodies)
                )
            )
            load.start()
            time.sleep(arguments.seconds / 4)
            began = time.perf_counter()
            Promotions(registry).promote(version)
            bench.note("swap", _first_response(server, version) - began)
            load.join()
            bench.note("swapping, p99", results[0].p99_ms / 1000)


def _first_response(server: Server, version: int) -> float:
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
        help="products of the release, at most 60,000 (default %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=int, default=10, help="seconds of load each time (default %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="repetitions (default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="workers of each server (default %(default)s)")
    parser.add_argument("--plot", type=Path, nargs="?", const=PLOT, help=f"draw the plot (default {PLOT})")
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
