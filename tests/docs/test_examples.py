"""The clients in docs/examples, against a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pages import DOCS
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.client import Registry
from release.bundles import png_image
from release.registered import set_production
from release.servers import free_port, running, script
from serving.load import wait_for

pytestmark = pytest.mark.server
TOKEN = "a-token-of-the-test"


@pytest.fixture
def address(home: Settings, tmp_path: Path) -> Iterator[str]:
    """A server that needs a token and has no release yet."""
    address = f"http://127.0.0.1:{free_port()}"
    env = {
        "RECSIM_HOME": str(home.home),
        "RECSIM_PORT": address.rpartition(":")[2],
        "RECSIM_API_TOKEN": TOKEN,
        "RECSIM_SERVING_WORKERS": "1",
        "RECSIM_SERVING_POLL_SECONDS": "0.2",
        "MLFLOW_TRACKING_URI": home.tracking_uri,
    }
    with running([script("recsim"), "serve"], f"{address}/health/live", tmp_path / "serve.log", env):
        yield address


def similar(folder: Path, address: str, image: bytes = b"", token: str = TOKEN) -> tuple[int, str]:
    """The exit code of the example, and all that it printed."""
    (folder / "query.png").write_bytes(image or png_image(7))
    arguments = ["query.png", "--url", address, "-k", "3", "--out", "sheet.png"]
    done = subprocess.run(
        [sys.executable, str(DOCS / "examples" / "similar.py"), *arguments],
        cwd=folder,
        env={"RECSIM_API_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def test_similar_prints_and_draws_the_neighbours_or_says_in_one_line_why_not(
    home: Settings, address: str, tmp_path: Path
) -> None:
    code, output = similar(tmp_path, address)
    assert (code, output.partition(":")[0], output.count("\n")) == (1, "503", 1)
    set_production(Registry(home), 1)
    wait_for(address, 1)
    code, output = similar(tmp_path, address)
    *neighbours, last = output.splitlines()
    assert neighbours[0] == "release 1  p007  1.000  rings"
    assert len(neighbours) == 3
    assert last == "The image and its neighbours are in sheet.png."
    sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
    columns = [sheet.crop((left, 12, left + 160, 172)).tobytes() for left in range(12, sheet.width - 12, 172)]
    assert len(columns) == 4
    assert all(len(set(column)) > 2 for column in columns), "each shows an image"
    code, output = similar(tmp_path, address, token="wrong")
    assert (code, output.partition(":")[0]) == (1, "401")
    code, output = similar(tmp_path, address, image=b'{"price": 3}')
    assert (code, output.count("\n")) == (1, 1)
    assert "it is JSON" in output


def test_similar_says_how_to_start_the_server(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    code, output = similar(tmp_path, address)
    assert (code, output.count("\n")) == (1, 1)
    assert output.startswith(f"{address} does not answer")
    assert "Start `recsim serve`" in output


def test_similar_names_a_file_that_does_not_exist(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "examples" / "similar.py"), "nothing.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["[Errno 2] No such file or directory: 'nothing.png'"]
