from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from recsim_tasks.foundation.errors import ConfigurationError, MissingError, UnavailableError
from recsim_tasks.learning import devices
from recsim_tasks.learning.devices import acquire_device

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import pathlib, sys, time
from recsim_tasks.learning.devices import acquire_device
with acquire_device(pathlib.Path(sys.argv[1]), gpus=0, shares=2):
    print("acquired", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "WAIT_SECONDS", 0.3)
    monkeypatch.setenv(
        "CUDA_VISIBLE_DEVICES", ""
    )  # `acquire_device` sets it; this restores it after each test
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


def test_each_process_gets_its_own_device_and_one_too_many_is_refused(tmp_path: Path) -> None:
    with ExitStack() as leases:
        assert [leases.enter_context(acquire_device(tmp_path, gpus=0, shares=3)) for _ in range(3)] == [
            "0",
            "1",
            "2",
        ]
        with (
            pytest.raises(
                UnavailableError,
                match=r"None of the 3 processor shares of this machine is free.*has held its lease",
            ),
            acquire_device(tmp_path, gpus=0, shares=3),
        ):
            pass
    with acquire_device(tmp_path, gpus=0, shares=3) as free_again:
        assert free_again == "0"


def test_a_blocked_lease_is_not_a_device_in_use(tmp_path: Path) -> None:
    (tmp_path / "leases").touch()
    with (
        pytest.raises(ConfigurationError, match="cannot be acquired"),
        acquire_device(tmp_path, gpus=0, shares=1),
    ):
        pass


def test_a_killed_process_frees_its_device(tmp_path: Path) -> None:
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None
            holder.stdout.readline()
        with (
            pytest.raises(UnavailableError, match="None of the 2 processor shares"),
            acquire_device(tmp_path, gpus=0, shares=2),
        ):
            pass
        holders[0].send_signal(signal.SIGKILL)
        holders[0].wait()
        with acquire_device(tmp_path, gpus=0, shares=2):
            pass
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, of which the environment hides none."""
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()


def acquired_by_separate_processes(
    leases: ExitStack, home: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The GPUs that `count` processes acquire, each starting with the same environment."""
    environment, names = os.environ.get("CUDA_VISIBLE_DEVICES"), []
    for _ in range(count):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if environment is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment)
        names.append(leases.enter_context(acquire_device(home, gpus=2, shares=1)))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == names[-1]
    return names


@pytest.mark.usefixtures("two_gpus")
def test_a_process_sees_only_the_gpu_that_it_acquired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as leases:
        assert acquired_by_separate_processes(leases, tmp_path / "home", 2, monkeypatch) == ["0", "1"]
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with pytest.raises(UnavailableError, match="None of the 2 GPUs"):
            leases.enter_context(acquire_device(tmp_path / "home", gpus=2, shares=1))


@pytest.mark.parametrize("names", [["1"], ["7", "3"], ["GPU-8f2c", "GPU-91aa"], ["MIG-5/1/0"]])
@pytest.mark.usefixtures("two_gpus")
def test_only_gpus_named_by_the_environment_are_acquired(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
    with ExitStack() as leases:
        assert acquired_by_separate_processes(leases, tmp_path / "home", len(names), monkeypatch) == names
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(names))
        with pytest.raises(UnavailableError, match=f"None of the {len(names)} GPUs"):
            leases.enter_context(acquire_device(tmp_path / "home", gpus=2, shares=1))


@pytest.mark.usefixtures("two_gpus")
def test_a_rank_acquires_a_gpu_that_spark_assigned(tmp_path: Path) -> None:
    with acquire_device(tmp_path / "home", gpus=2, shares=1, assigned=("5",)) as name:
        assert (name, os.environ["CUDA_VISIBLE_DEVICES"]) == ("5", "5")


@pytest.mark.usefixtures("two_gpus")
def test_a_trial_acquires_a_gpu_that_spark_assigned_to_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark import TaskContext
    from pyspark.resource import ResourceInformation

    monkeypatch.setattr(TaskContext, "_taskContext", None)
    TaskContext()._resources = {"gpu": ResourceInformation("gpu", ["6"])}
    with acquire_device(tmp_path / "home", gpus=2, shares=1) as name:
        assert name == "6"


def test_a_missing_gpu_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with (
        pytest.raises(
            MissingError, match=r"RECSIM_GPUS asks for a GPU, but .* has none \(no .*set RECSIM_GPUS to 0"
        ),
        acquire_device(tmp_path, gpus=1, shares=1),
    ):
        pass


@pytest.mark.parametrize("hidden", ["-1", ""])
@pytest.mark.usefixtures("two_gpus")
def test_gpus_hidden_by_the_environment_are_not_used(
    hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    with (
        pytest.raises(MissingError, match="CUDA_VISIBLE_DEVICES hides all"),
        acquire_device(tmp_path, gpus=1, shares=1),
    ):
        pass
