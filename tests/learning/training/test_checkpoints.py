from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.learning.spec import ValidationResult
from recsim_tasks.learning.training.checkpoints import RECEIPT, STATE_FILE, Checkpoint, Checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = [ValidationResult(640, 1.0, 2.0, 0.5, 0.4, 0.9)]


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"00000": np.full((3, 4), step, np.float32), "00001": np.array(step)}, ROUNDS)


@pytest.fixture
def two(tmp_path: Path) -> Checkpoints:
    kept = Checkpoints(tmp_path / "checkpoints", "this training")
    for step in (10, 20):
        kept.save(checkpoint(step))
    return kept


def test_the_latest_is_read_as_it_was_saved(two: Checkpoints) -> None:
    latest = two.latest()
    assert latest is not None
    assert (latest.step, latest.rounds) == (20, ROUNDS)
    assert np.array_equal(latest.arrays["00000"], np.full((3, 4), 20, np.float32))


def test_only_the_last_two_are_kept(two: Checkpoints) -> None:
    two.save(checkpoint(30))
    assert sorted(path.name for path in two.folder.iterdir()) == ["000000020", "000000030"]


def test_checkpoints_of_another_training_are_ignored(two: Checkpoints) -> None:
    assert Checkpoints(two.folder, "another training").latest() is None


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nothing", "this training").latest() is None


@pytest.mark.parametrize("name", [STATE_FILE, RECEIPT])
def test_after_a_flipped_bit_the_checkpoint_before_is_used(
    two: Checkpoints, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = two.folder / "000000020" / name
    whole = path.read_bytes()
    positions = range(0, len(whole), max(1, len(whole) // 50))
    for position in positions:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        latest = two.latest()
        assert latest is not None
        # A blank in the receipt may become another character that JSON ignores: then no content has changed.
        assert latest.step == 10 or (
            name == RECEIPT and np.array_equal(latest.arrays["00000"], checkpoint(20).arrays["00000"])
        )
    assert "is damaged and not used" in caplog.text
    path.write_bytes(whole)
    latest = two.latest()
    assert latest is not None
    assert latest.step == 20


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [cut, Path.unlink], ids=["cut", "missing"])
@pytest.mark.parametrize("name", [STATE_FILE, RECEIPT])
def test_after_a_torn_file_the_checkpoint_before_is_used(
    two: Checkpoints, name: str, damage: Callable[[Path], None]
) -> None:
    damage(two.folder / "000000020" / name)
    latest = two.latest()
    assert latest is not None
    assert latest.step == 10


def test_an_outage_is_not_a_damaged_checkpoint(two: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(path: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(Path, "read_text", no_descriptor)
    with pytest.raises(UnavailableError, match="No file descriptors are left"):
        two.latest()


def test_code_planted_in_a_checkpoint_does_not_run(two: Checkpoints, tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (tmp_path / "it ran",)

    from recsim_tasks.foundation.publishing import digest_of, digests, write_json

    folder = two.folder / "000000020"
    np.savez(folder / STATE_FILE, planted=np.array([Planted()], object))
    receipt = {"training": "this training", "step": 20, "rounds": [], "digests": digests(folder, RECEIPT)}
    write_json(folder / RECEIPT, {**receipt, "seal": digest_of(receipt)})
    latest = two.latest()
    assert latest is not None
    assert latest.step == 10
    assert not (tmp_path / "it ran").exists()
    with np.load(folder / STATE_FILE, allow_pickle=True) as stored:
        assert stored["planted"] is not None
    assert (tmp_path / "it ran").exists(), "the plant would have run"
