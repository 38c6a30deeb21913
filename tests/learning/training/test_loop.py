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
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.training.checkpoints import Checkpoints
from recsim_tasks.learning.training.distributed import Alone
from recsim_tasks.learning.training.planning import plan_job

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_tasks.learning.spec import Job, Round
    from recsim_tasks.learning.training.loop import Shards

pytestmark = pytest.mark.ml

ENDLESS = Path(__file__).with_name("endless_training.py")


@pytest.fixture(scope="module")
def job(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return plan_job(
        catalogue.settings(tmp_path_factory.mktemp("home")), catalogue.cursor, Parameters(), 1_600, 64, 1, 4
    )


@pytest.fixture(scope="module")
def shards(job: Job) -> Shards:
    from recsim_tasks.learning.training.loop import load_shards

    return load_shards(job, Alone())


def trained(
    job: Job, shards: Shards, checkpoints: Checkpoints | None = None, heard: Any = None
) -> tuple[list[Any], list[Round]]:
    from recsim_tasks.learning.training.loop import fit

    trainer, rounds = fit(job, Alone(), shards, "Test", checkpoints, heard)
    return trainer.network.get_weights(), rounds


def measures(rounds: list[Round]) -> list[Round]:
    """Without the time."""
    return [replace(r, at=0) for r in rounds]


def test_the_same_seed_gives_the_same_model(job: Job, shards: Shards) -> None:
    (first, rounds), (again, rounds_again) = trained(job, shards), trained(job, shards)
    assert measures(rounds) == measures(rounds_again)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    other, _ = trained(replace(job, seed=21), shards)
    assert not all(np.array_equal(one, another) for one, another in zip(first, other, strict=True))


def test_the_images_of_a_round_are_those_that_were_seen(
    job: Job, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten categories a batch of 64 holds 60."""
    from recsim_tasks.learning.training.trainer import Trainer

    seen, step = [0], Trainer.step

    def counted(self: Trainer, images: Any, *rest: Any) -> float:
        seen[0] += len(images)
        return step(self, images, *rest)

    monkeypatch.setattr(Trainer, "step", counted)
    _, rounds = trained(job, shards)
    assert rounds[-1].images == seen[0]
    assert seen[0] == pytest.approx(job.images, abs=60)


def test_a_training_that_goes_on_from_a_checkpoint_ends_as_if_it_had_not_been_interrupted(
    job: Job, shards: Shards, tmp_path: Path
) -> None:
    whole, rounds = trained(job, shards)
    checkpoints = Checkpoints(tmp_path, job.digest(1))
    _, before = trained(job, shards, checkpoints, lambda rounds: len(rounds) < 2)
    assert len(before) == 2
    resumed, after = trained(job, shards, checkpoints)
    assert [r.images for r in after] == [r.images for r in rounds]
    assert measures(after[2:]) == measures(rounds[2:])
    assert all(np.array_equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_a_round_is_told_once_it_is_kept(
    job: Job, shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, kept = Checkpoints(tmp_path, job.digest(1)), []

    def info(line: str, *_: object) -> None:
        latest = checkpoints.latest()
        if latest and "validation precision@1" in line:
            kept.append((len(latest.rounds), f"after {latest.rounds[-1].images:,} images" in line))

    monkeypatch.setattr("recsim_tasks.learning.training.loop.log.info", info)
    trained(job, shards, checkpoints)
    assert kept == [(number, True) for number in range(1, job.rounds + 1)]


def test_a_training_that_is_told_to_end_keeps_a_checkpoint_of_that_very_step(
    job: Job, shards: Shards, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(tmp_path, job.digest(1))
    threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(
        RecsimError, match=r"told to end after [\d,]+ steps. Run it again: it goes on from there"
    ):
        trained(replace(job, images=1_000_000), shards, checkpoints)
    kept = checkpoints.latest()
    assert kept is not None
    assert kept.step > 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.drill
def test_kept_checkpoints_load_and_grow_however_often_a_training_is_killed(
    catalogue: Catalogue, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """SIGTERM or SIGKILL at random moments; after each the latest checkpoint is whole, and none was lost. A kill by TERM costs nothing."""
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
                told = time.time()
                training.wait(timeout=60)
                if sent == signal.SIGTERM:
                    assert "told to end" in (tmp_path / "log").read_text()
                    assert (
                        max(path.stat().st_mtime for path in (tmp_path / "home" / "checkpoints").iterdir())
                        - told
                        < 4
                    )
            finally:
                training.kill()
                training.wait()
        kept = Checkpoints(tmp_path / "home" / "checkpoints", "endless").latest()
        assert kept is not None, (tmp_path / "log").read_text()[-3_000:]
        steps.append(kept.step)
    assert steps == sorted(set(steps))


def test_a_collapsed_model_is_refused(job: Job, shards: Shards) -> None:
    """All its training images are one picture, under ten categories: there is nothing to tell them apart by."""
    one = replace(shards.train, rows=np.zeros_like(shards.train.rows))
    validation = replace(
        shards.validation, images=shards.train.images, rows=np.zeros_like(shards.validation.rows)
    )
    alike = replace(shards, train=one, validation=validation)
    with pytest.raises(RecsimError, match="The model collapsed"):
        trained(replace(job, images=4_000), alike)


def test_a_loss_that_is_no_number_ends_the_training(job: Job, shards: Shards) -> None:
    with pytest.raises(RecsimError, match=r"The loss is nan after [\d,]+ images"):
        trained(replace(job, parameters=Parameters(learning_rate=1e30), images=6_400), shards)


def test_a_warm_start_begins_where_the_champion_ended(job: Job, shards: Shards, tmp_path: Path) -> None:
    from recsim_tasks.learning.model.export import export
    from recsim_tasks.learning.training.loop import fit
    from recsim_tasks.learning.training.trainer import Trainer
    from recsim_tasks.learning.training.warm_start import start_from

    trainer, rounds = fit(job, Alone(), shards, "Champion")
    seen = shards.train.read(np.arange(8))
    for name, data in export(
        trainer.network, job.preprocessing, job.embedding_size, job.backbone, seen
    ).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    warm = Trainer(job, Alone())
    start_from(warm, tmp_path, shards.train)
    assert np.allclose(warm.embed(seen), trainer.embed(seen), atol=1e-5)
    _, after = fit(replace(job, champion=str(tmp_path), images=640), Alone(), shards, "Warm")
    _, cold = fit(replace(job, images=640), Alone(), shards, "Cold")
    assert after[0].map_at_r > cold[0].map_at_r + 0.03
    assert after[-1].map_at_r > rounds[-1].map_at_r


def wait_for(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
