from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recsim_tasks.foundation.doctor import findings
from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.gpus import CPU_ONLY, UsableGpus, ask_tensorflow, check_gpus, reason
from recsim_tasks.foundation.settings import Settings

# What TensorFlow 2.18 logs where it is built with CUDA: without a driver, and without CUDA's libraries.
NO_DRIVER = """\
2026-11-27 21:53:26.420159: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.
2026-11-27 21:53:26.441720: E external/local_xla/xla/stream_executor/cuda/cuda_fft.cc:477] \
Unable to register cuFFT factory
2026-11-27 21:53:40.622834: E external/local_xla/xla/stream_executor/cuda/cuda_driver.cc:152] \
failed call to cuInit: UNKNOWN ERROR (303)
"""
NO_LIBRARIES = """\
2026-11-27 21:53:40.622834: W tensorflow/core/common_runtime/gpu/gpu_device.cc:2344] \
Cannot dlopen some GPU libraries. Please make sure the missing libraries mentioned above are installed \
properly if you would like to use GPU. Skipping registering GPU devices...
"""


@pytest.fixture(autouse=True)
def fresh_cache() -> None:
    ask_tensorflow.cache_clear()


def fake_tensorflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, log: str = "") -> None:
    """Let a program that prints `output` and `log` stand for a Python whose TensorFlow does."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nprint({output!r})\nprint({log!r}, file=sys.stderr)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (NO_DRIVER, "failed call to cuInit: UNKNOWN ERROR (303)"),
        (NO_LIBRARIES, "Cannot dlopen some GPU libraries. Please make sure"),
        ("nothing of the kind", ""),
    ],
)
def test_the_reason_is_what_tensorflow_says_of_its_gpus(log: str, expected: str) -> None:
    assert reason(log).startswith(expected)
    assert bool(reason(log)) == bool(expected)


@pytest.mark.ml
def test_a_gpu_is_refused_with_the_reason_when_tensorflow_is_built_for_processors(settings: Settings) -> None:
    assert ask_tensorflow() == UsableGpus(0, CPU_ONLY)
    with pytest.raises(
        MissingError,
        match=r"1 GPU is requested \(RECSIM_GPUS.*sees none on .*built for CPUs only.*docs/learning.md",
    ):
        check_gpus(settings.model_copy(update={"gpus": 1}))


def test_more_gpus_than_tensorflow_sees_are_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_tensorflow(monkeypatch, tmp_path, "[2, true]")
    check_gpus(settings.model_copy(update={"gpus": 2}))
    with pytest.raises(MissingError, match=r"4 GPUs are requested .* but TensorFlow sees 2 on"):
        check_gpus(settings.model_copy(update={"gpus": 4}))


def test_the_reason_of_a_build_with_cuda_stands_in_the_refusal(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_tensorflow(monkeypatch, tmp_path, "[0, true]", NO_LIBRARIES)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(
        MissingError, match=r"\(CUDA_VISIBLE_DEVICES leaves none\): Cannot dlopen some GPU libraries"
    ):
        check_gpus(settings.model_copy(update={"gpus": 1}))


def test_a_tensorflow_that_cannot_be_imported_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_tensorflow(monkeypatch, tmp_path, "no JSON")
    with pytest.raises(MissingError, match="TensorFlow cannot be imported"):
        check_gpus(settings.model_copy(update={"gpus": 1}))


@pytest.mark.parametrize("update", [{"gpus": 0}, {"gpus": 8, "spark_master": "spark://there:7077"}])
def test_without_gpus_and_on_a_cluster_this_machine_is_not_checked(
    update: dict[str, object], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    check_gpus(settings.model_copy(update=update))


def test_doctor_says_how_many_gpus_tensorflow_sees(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_tensorflow(monkeypatch, tmp_path, "[1, true]")
    found = {
        wanted: next(f for f in findings(settings.model_copy(update={"gpus": wanted})) if f.name == "GPUs")
        for wanted in (1, 2)
    }
    assert (found[1].ok, found[1].detail) == (True, "TensorFlow sees 1")
    assert (found[2].ok, found[2].detail.split(",")[0]) == (False, "2 GPUs are requested (RECSIM_GPUS")
    assert "GPUs" not in {f.name for f in findings(settings)}
