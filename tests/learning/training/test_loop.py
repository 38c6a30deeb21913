from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.training.checkpoints import Checkpoints
from recsim_tasks.learning.training.communicator import SingleProcess

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_tasks.learning.spec import TrainingSpec, ValidationResult
    from recsim_tasks.learning.training.training_data import TrainingData

pytestmark = pytest.mark.ml

ENDLESS = Path(__file__).with_name("endless_training.py")


def trained(
    spec: TrainingSpec,
    training_data: TrainingData,
    checkpoints: Checkpoints | None = None,
    on_round: Any = None,
) -> tuple[list[Any], list[ValidationResult]]:
    from recsim_tasks.learning.training.loop import FitOptions, fit

    trainer, rounds = fit(spec, SingleProcess(), training_data, FitOptions("Test", checkpoints, on_round))
    return trainer.network.get_weights(), rounds


def measures(rounds: list[ValidationResult]) -> list[ValidationResult]:
    """The rounds without the time."""
    return [replace(r, at=0) for r in rounds]


def test_the_same_seed_gives_the_same_model(spec: TrainingSpec, training_data: TrainingData) -> None:
    (first, rounds), (again, rounds_again) = trained(spec, training_data), trained(spec, training_data)
    assert measures(rounds) == measures(rounds_again)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    other, _ = trained(replace(spec, seed=21), training_data)
    assert not all(np.array_equal(one, another) for one, another in zip(first, other, strict=True))


def test_a_round_counts_the_images_that_the_network_has_seen(
    spec: TrainingSpec, training_data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten categories a batch of 64 holds 60."""
    from recsim_tasks.learning.training.trainer import Trainer

    seen, step = [0], Trainer.step

    def counted(self: Trainer, images: Any, *rest: Any) -> float:
        seen[0] += len(images)
        return step(self, images, *rest)

    monkeypatch.setattr(Trainer, "step", counted)
    _, rounds = trained(spec, training_data)
    assert rounds[-1].images == seen[0]
    assert seen[0] == pytest.approx(spec.images, abs=60)


def test_a_resumed_training_ends_as_if_it_had_not_been_interrupted(
    spec: TrainingSpec, training_data: TrainingData, tmp_path: Path
) -> None:
    whole, rounds = trained(spec, training_data)
    checkpoints = Checkpoints(tmp_path, spec.digest(1))
    _, before = trained(spec, training_data, checkpoints, lambda rounds: len(rounds) < 2)
    assert len(before) == 2
    resumed, after = trained(spec, training_data, checkpoints)
    assert [r.images for r in after] == [r.images for r in rounds]
    assert measures(after[2:]) == measures(rounds[2:])
    assert all(np.array_equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_a_round_is_logged_after_its_checkpoint_is_saved(
    spec: TrainingSpec, training_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, saved = Checkpoints(tmp_path, spec.digest(1)), []

    def info(line: str, *values: object) -> None:
        latest = checkpoints.latest()
        if latest and "validation precision@1" in line:
            saved.append((len(latest.rounds), f"{latest.rounds[-1].images:,}" in values))

    monkeypatch.setattr("recsim_tasks.learning.training.loop.log.info", info)
    trained(spec, training_data, checkpoints)
    assert saved == [(number, True) for number in range(1, spec.rounds + 1)]


def test_a_stopped_training_saves_a_checkpoint_of_that_step(
    spec: TrainingSpec, training_data: TrainingData, tmp_path: Path
) -> None:
    checkpoints, handler = Checkpoints(tmp_path, spec.digest(1)), signal.getsignal(signal.SIGTERM)
    threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(RecsimError, match=r"stopped after [\d,]+ steps. Run it again: it resumes from there"):
        trained(replace(spec, images=1_000_000), training_data, checkpoints)
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step > 0
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_training_that_is_stopped_at_the_end_of_a_round_keeps_that_round(
    spec: TrainingSpec, training_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsim_tasks.learning.training.trainer import Trainer

    checkpoints, step, steps = Checkpoints(tmp_path, spec.digest(1)), Trainer.step, [0]
    _, whole = trained(spec, training_data)
    per_step = whole[-1].images // 27

    def stopped(self: Trainer, *arguments: Any) -> float:
        loss = step(self, *arguments)
        steps[0] += 1
        if steps[0] * per_step == whole[0].images:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    monkeypatch.setattr(Trainer, "step", stopped)
    with pytest.raises(RecsimError, match="stopped after"):
        trained(spec, training_data, checkpoints)
    _, resumed = trained(spec, training_data, checkpoints)
    assert [r.images for r in resumed] == [r.images for r in whole]


@pytest.mark.drill
def test_checkpoints_are_intact_and_grow_however_often_a_training_is_killed(
    catalogue: Catalogue, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """SIGTERM or SIGKILL at random moments: the latest checkpoint is intact. SIGTERM costs no step."""
    rng, steps = np.random.default_rng(5), [0]
    for number in range(2 + request.config.getoption("--kills")):
        sent = (signal.SIGTERM, signal.SIGKILL)[number % 2]
        with (tmp_path / "log").open("w+") as log:
            training = subprocess.Popen(
                [sys.executable, ENDLESS, catalogue.uri, tmp_path / "home"],
                stderr=log,
                stdout=subprocess.DEVNULL,
            )
            try:
                wait_for(
                    lambda: "Endless: after" in (tmp_path / "log").read_text() or training.poll() is not None,  # noqa: B023
                    120,
                )
                time.sleep(rng.uniform(0, 2))
                training.send_signal(sent)
                sent_at = time.time()
                training.wait(timeout=60)
                if sent == signal.SIGTERM:
                    assert "was stopped after" in (tmp_path / "log").read_text()
                    assert (
                        max(path.stat().st_mtime for path in (tmp_path / "home" / "checkpoints").iterdir())
                        - sent_at
                        < 4
                    )
            finally:
                training.kill()
                training.wait()
        latest = Checkpoints(tmp_path / "home" / "checkpoints", "endless").latest()
        assert latest is not None, (tmp_path / "log").read_text()[-3_000:]
        steps.append(latest.step)
    assert steps == sorted(set(steps))


def test_a_collapsed_model_is_refused(spec: TrainingSpec, training_data: TrainingData) -> None:
    """All its training images are one image, in ten categories: nothing separates them."""
    one = replace(training_data.train, rows=np.zeros_like(training_data.train.rows))
    validation = replace(
        training_data.validation,
        images=training_data.train.images,
        rows=np.zeros_like(training_data.validation.rows),
    )
    alike = replace(training_data, train=one, validation=validation)
    with pytest.raises(RecsimError, match="The model collapsed"):
        trained(replace(spec, images=4_000), alike)


def test_a_loss_that_is_not_finite_ends_the_training(spec: TrainingSpec, training_data: TrainingData) -> None:
    with pytest.raises(RecsimError, match=r"the loss is nan after [\d,]+ images"):
        trained(
            replace(spec, hyperparameters=Hyperparameters(learning_rate=1e30), images=6_400), training_data
        )


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
