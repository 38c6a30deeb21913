"""Checkpoints, from which a killed training resumes. Arrays and JSON: reading one cannot run code."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recsim_tasks.arrays import AnyArray
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.publishing import check_digests, digest_of, digests, publishing, write_json
from recsim_tasks.learning.spec import ValidationResult

log = logging.getLogger(__name__)

STATE_FILE, RECEIPT = "state.npz", "receipt.json"
# The last but one is there in case the disk damages the last.
MAX_CHECKPOINTS = 2
Arrays = dict[str, AnyArray]


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` steps, and the rounds up to then."""

    step: int
    arrays: Arrays
    rounds: list[ValidationResult]


class Checkpoints:
    """The checkpoints of one training, `STEP/` each, in one folder; ignores those of another training."""

    def __init__(self, folder: Path, training: str) -> None:
        """`training` is the digest of the training: only its own checkpoints are read."""
        self.folder, self.training = folder, training

    def save(self, checkpoint: Checkpoint) -> None:
        """Publish a checkpoint in one step, and remove all but the last two."""
        with publishing(self.folder / f"{checkpoint.step:09d}") as staged:
            np.savez(staged / STATE_FILE, **checkpoint.arrays)
            receipt = {
                "training": self.training,
                "step": checkpoint.step,
                "rounds": [asdict(r) for r in checkpoint.rounds],
            }
            receipt["digests"] = digests(staged)
            write_json(staged / RECEIPT, {**receipt, "seal": digest_of(receipt)})
        for old in self._newest_first()[MAX_CHECKPOINTS:]:
            shutil.rmtree(old, ignore_errors=True)

    def latest(self) -> Checkpoint | None:
        """The newest intact checkpoint of this training, if any; logs a warning for each damaged one."""
        for folder in self._newest_first():
            try:
                checkpoint = self._read(folder)
            except (OSError, ValueError, KeyError, TypeError, InputError) as error:
                if outage := outage_behind(error, str(folder)):
                    raise outage from error
                log.warning("The checkpoint %s is damaged and not used: %s", folder, error)
                continue
            if checkpoint is not None:
                return checkpoint
        return None

    def _newest_first(self) -> list[Path]:
        return sorted((path for path in self.folder.glob("[0-9]*") if path.is_dir()), reverse=True)

    def _read(self, folder: Path) -> Checkpoint | None:
        receipt = json.loads((folder / RECEIPT).read_text())
        if receipt.pop("seal") != digest_of(receipt):
            raise InputError(f"the seal of {RECEIPT} does not match")
        if receipt["training"] != self.training:
            return None
        check_digests(folder, receipt["digests"], leave_out=RECEIPT)
        with np.load(folder / STATE_FILE, allow_pickle=False) as stored:
            rounds = [ValidationResult(**r) for r in receipt["rounds"]]
            return Checkpoint(int(receipt["step"]), dict(stored), rounds)
