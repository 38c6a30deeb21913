from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from recsim_tasks.foundation.errors import MissingError, RecsimError
from recsim_tasks.learning import devices
from recsim_tasks.learning.devices import device

if TYPE_CHECKING:
    from pathlib import Path

HOLD = "import sys, time, pathlib; from recsim_tasks.learning.devices import device\nwith device(pathlib.Path(sys.argv[1]), 0, 2): print('held', flush=True); time.sleep(600)"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "WAIT_SECONDS", 0.3)


def test_each_holder_has_a_device_of_its_own_and_one_too_many_is_refused(tmp_path: Path) -> None:
    with ExitStack() as held:
        assert [held.enter_context(device(tmp_path, 0, 3)) for _ in range(3)] == [0, 1, 2]
        with (
            pytest.raises(RecsimError, match=r"No processor share of the 3 on this machine is free.*holds its lease"),
            device(tmp_path, 0, 3),
        ):
            pass
    with device(tmp_path, 0, 3) as free_again:
        assert free_again == 0


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holders = [subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for holder in holders:
            assert holder.stdout is not None
            holder.stdout.readline()
        with pytest.raises(RecsimError, match="No processor share"), device(tmp_path, 0, 2):
            pass
        holders[0].send_signal(signal.SIGKILL)
        holders[0].wait()
        with device(tmp_path, 0, 2):
            pass
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def test_a_gpu_is_the_only_one_that_its_holder_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    for number in range(2):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    with ExitStack() as held:
        for number in range(2):
            assert held.enter_context(device(tmp_path / "home", 2, 1)) == number
            assert devices.os.environ["CUDA_VISIBLE_DEVICES"] == str(number)
        with pytest.raises(RecsimError, match="No GPU of the 2"), device(tmp_path / "home", 2, 1):
            pass


def test_a_gpu_that_is_asked_for_and_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    with (
        pytest.raises(MissingError, match=r"RECSIM_GPUS asks for a GPU, but .* has none.*set RECSIM_GPUS to 0"),
        device(tmp_path, 1, 1),
    ):
        pass
