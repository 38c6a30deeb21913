"""Many large images at once: what a real server's workers hold of them, and what they give back."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from release.registered import set_production
from release.servers import free_port, running, script

pytestmark = [pytest.mark.server, pytest.mark.drill]
AT_ONCE = 16
MEBIBYTE = 2**20
Images = dict[str, Callable[[], bytes]]


def blocks(width: int, height: int) -> Image.Image:
    """Few colours, so that it is small as a file."""
    pixels = np.random.default_rng(0).integers(0, 2, (height // 100, width // 100, 3), np.uint8) * 200
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


TAKEN: Images = {
    "PNG, 16 Mpx": lambda: encoded(blocks(5_000, 3_200), "PNG"),
    "PNG with alpha, 16 Mpx": lambda: encoded(see_through(blocks(5_000, 3_200)), "PNG"),
    "WebP, 16 Mpx": lambda: encoded(blocks(5_000, 3_200), "WEBP", method=0),
    "progressive JPEG, 16 Mpx": lambda: encoded(
        blocks(5_000, 3_200), "JPEG", progressive=True, subsampling=0
    ),
    "JPEG, 48 Mpx": lambda: encoded(blocks(8_000, 6_000), "JPEG"),
}
REFUSED: Images = {
    "PNG, 40 Mpx": lambda: encoded(blocks(8_000, 5_000), "PNG"),
    "WebP, 40 Mpx": lambda: encoded(blocks(8_000, 5_000), "WEBP", method=0),
}


def see_through(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


@contextmanager
def served(home: Settings, log: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    """The address of a server with two workers, and these."""
    set_production(Registry(home), 1)
    port = free_port()
    env = {
        "RECSIM_HOME": str(home.home),
        "RECSIM_PORT": str(port),
        "RECSIM_SERVING_WORKERS": "2",
        "MLFLOW_TRACKING_URI": home.tracking_uri,
    }
    with running([script("recsim"), "serve"], f"http://127.0.0.1:{port}/health/ready", log, env) as server:
        family = psutil.Process(server.pid).children(recursive=True)
        yield (
            f"http://127.0.0.1:{port}",
            [each for each in family if "spawn_main" in " ".join(each.cmdline())],
        )


def memory(workers: list[psutil.Process]) -> float:
    """Resident memory of all, MiB."""
    return sum(worker.memory_info().rss for worker in workers) / MEBIBYTE


class Watch:
    """Measures the peak memory of the workers, MiB, and the slowest answer of /health/live, seconds."""

    def __init__(self, address: str, workers: list[psutil.Process]) -> None:
        self.peak = self.slowest = 0.0
        self._address, self._workers, self._stopping = address, workers, threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._memory, self._health)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _memory(self) -> None:
        while not self._stopping.wait(0.05):
            self.peak = max(self.peak, memory(self._workers))

    def _health(self) -> None:
        while not self._stopping.wait(0.2):
            began = time.monotonic()
            httpx.get(f"{self._address}/health/live", timeout=60)
            self.slowest = max(self.slowest, time.monotonic() - began)


def test_a_burst_of_large_images_is_answered_and_its_memory_is_released(
    home: Settings, tmp_path: Path
) -> None:
    with served(home, tmp_path / "serve.log") as (address, workers), ThreadPoolExecutor(AT_ONCE) as pool:
        base = memory(workers)
        print(f"\nbefore: {base:.0f} MiB in {len(workers)} workers")
        for name, make in {**TAKEN, **REFUSED}.items():
            image = make()

            def ask(_: int, image: bytes = image) -> int:
                return httpx.post(f"{address}/v1/similar", files={"image": image}, timeout=240).status_code

            with Watch(address, workers) as watch:
                began = time.monotonic()
                statuses = set(pool.map(ask, range(AT_ONCE)))
            seconds = time.monotonic() - began
            print(
                f"{name}: {len(image):,} bytes, {seconds:.1f} s, {statuses}, "
                f"{watch.peak:.0f} MiB, live {watch.slowest:.2f} s"
            )
            assert statuses <= ({200, 503} if name in TAKEN else {422}), name
            assert statuses != {503}, name
            assert watch.peak < base + 2 * 350, name
        time.sleep(2)
        print(f"after: {memory(workers):.0f} MiB")
        assert memory(workers) < base + 150
