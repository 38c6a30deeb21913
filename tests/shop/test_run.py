"""The process of the shop: its host names, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import websockets
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from process_states import ended, wait_until
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.shop.run import own_hosts
from release.servers import free_port, running, script

pytestmark = pytest.mark.server


@contextmanager
def shop(folder: Path, command: list[str] | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    env = {
        "RECSIM_HOME": str(folder),
        "RECSIM_SHOP_PORT": str(port),
        "RECSIM_SERVING_URL": "http://127.0.0.1:1",
        "RECSIM_SHOP_URL": "https://shop.example/",
    }
    with running(
        command or [script("recsim"), "shop"],
        f"http://127.0.0.1:{port}/_stcore/health",
        folder / "shop.log",
        env,
    ) as process:
        yield process, port


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with shop(tmp_path_factory.mktemp("shop")) as (_, port):
        yield port


def status(port: int, host: str, origin: str) -> int:
    """Status of the WebSocket handshake of a browser on a page at `origin`."""

    async def knock() -> int:
        address = f"ws://{host}/_stcore/stream"
        try:
            async with websockets.connect(
                address, host="127.0.0.1", port=port, origin=websockets.Origin(origin), proxy=None
            ):
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    return asyncio.run(knock())


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example"])
def test_a_page_that_rebinds_its_dns_name_to_this_machine_is_refused(port: int, host: str) -> None:
    assert status(port, f"{host}:{port}", f"http://{host}:{port}") == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "shop.example", socket.gethostname()])
def test_a_page_of_the_shop_itself_is_served(port: int, host: str) -> None:
    assert status(port, f"{host}:{port}", f"http://{host}:{port}") == 101
    assert status(port, f"{host}:{port}", "http://evil.example") == 403


def test_host_names_are_those_of_the_machine_and_of_the_settings() -> None:
    settings = Settings.model_construct(host="0.0.0.0", shop_url="https://Shop.example:8443/shop")
    assert set(own_hosts(settings)) == {
        "localhost",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        socket.gethostname(),
        "shop.example",
    }
    assert "shop.example" not in own_hosts(Settings.model_construct(host="0.0.0.0"))


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda number: number.name
)
def test_an_ended_shop_releases_its_port(tmp_path: Path, number: signal.Signals) -> None:
    with shop(tmp_path) as (process, port):
        family = psutil.Process(process.pid).children(recursive=True)
        with connect(f"ws://127.0.0.1:{port}/_stcore/stream", proxy=None):  # a visitor is connected
            process.send_signal(number)
            code = process.wait(30)
        assert code == (0 if number in (signal.SIGTERM, signal.SIGINT) else -number)
        assert wait_until(lambda: all(ended(process.pid) for process in family), 20)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_shop_ends_with_its_parent_process(tmp_path: Path) -> None:
    start = (
        "import os, subprocess; env = {**os.environ, 'RECSIM_PARENT_PID': str(os.getpid())};"
        f"subprocess.run([{script('recsim')!r}, 'shop'], env=env)"
    )
    with shop(tmp_path, [sys.executable, "-c", start]) as (process, port):
        (child,) = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        assert wait_until(lambda: ended(child.pid), 30)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = {**os.environ, "RECSIM_HOME": str(tmp_path), "RECSIM_SHOP_PORT": str(port)}
        done = subprocess.run(
            [script("recsim"), "shop"], env=env, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 1
    assert f"Is port {port} in use (RECSIM_SHOP_PORT)?" in done.stderr.splitlines()[-1]
