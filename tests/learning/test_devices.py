from __future__ import annotations

import os
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
    monkeypatch.setenv(
        "CUDA_VISIBLE_DEVICES", ""
    )  # which `device` sets, so that it is as it was after each test
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


def test_each_holder_has_a_device_of_its_own_and_one_too_many_is_refused(tmp_path: Path) -> None:
    with ExitStack() as held:
        assert [held.enter_context(device(tmp_path, 0, 3)) for _ in range(3)] == ["0", "1", "2"]
        with (
            pytest.raises(
                RecsimError, match=r"No processor share of the 3 on this machine is free.*holds its lease"
            ),
            device(tmp_path, 0, 3),
        ):
            pass
    with device(tmp_path, 0, 3) as free_again:
        assert free_again == "0"


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) for _ in range(2)
    ]
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


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two, of which the environment hides none."""
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()


def held_by_processes_of_their_own(
    held: ExitStack, home: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The GPUs that so many processes take, each of which finds the environment as it was."""
    environment, names = os.environ.get("CUDA_VISIBLE_DEVICES"), []
    for _ in range(count):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if environment is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment)
        names.append(held.enter_context(device(home, 2, 1)))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == names[-1]
    return names


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_the_only_one_that_its_holder_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as held:
        assert held_by_processes_of_their_own(held, tmp_path / "home", 2, monkeypatch) == ["0", "1"]
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with pytest.raises(RecsimError, match="No GPU of the 2"):
            held.enter_context(device(tmp_path / "home", 2, 1))


@pytest.mark.parametrize("names", [["1"], ["7", "3"], ["GPU-8f2c", "GPU-91aa"], ["MIG-5/1/0"]])
@pytest.mark.usefixtures("two_gpus")
def test_only_gpus_that_the_environment_names_are_taken(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    with ExitStack() as held:
        assert held_by_processes_of_their_own(held, tmp_path / "home", len(names), monkeypatch) == names
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
        with pytest.raises(RecsimError, match=f"No GPU of the {len(names)}"):
            held.enter_context(device(tmp_path / "home", 2, 1))


@pytest.mark.usefixtures("two_gpus")
def test_of_the_gpus_that_spark_gave_a_rank_it_takes_one(tmp_path: Path) -> None:
    with device(tmp_path / "home", 2, 1, given=("5",)) as name:
        assert (name, os.environ["CUDA_VISIBLE_DEVICES"]) == ("5", "5")


@pytest.mark.usefixtures("two_gpus")
def test_of_the_gpus_that_spark_gave_a_task_a_trial_takes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark import TaskContext
    from pyspark.resource import ResourceInformation

    monkeypatch.setattr(TaskContext, "_taskContext", None)
    TaskContext()._resources = {"gpu": ResourceInformation("gpu", ["6"])}
    with device(tmp_path / "home", 2, 1) as name:
        assert name == "6"


def test_a_gpu_that_is_asked_for_and_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with (
        pytest.raises(
            MissingError, match=r"RECSIM_GPUS asks for a GPU, but .* has none \(no .*set RECSIM_GPUS to 0"
        ),
        device(tmp_path, 1, 1),
    ):
        pass


@pytest.mark.parametrize("hidden", ["-1", ""])
@pytest.mark.usefixtures("two_gpus")
def test_gpus_that_the_environment_hides_are_not_there(
    hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    with pytest.raises(MissingError, match="CUDA_VISIBLE_DEVICES hides all"), device(tmp_path, 1, 1):
        pass
