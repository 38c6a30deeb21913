"""Where a training stands, kept so that a killed one goes on. Arrays and JSON: nothing in it can run when it is read."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recsim_tasks.arrays import AnyArray
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import check_digests, digest_of, digests, publishing, write_json
from recsim_tasks.learning.spec import Round

log = logging.getLogger(__name__)

STATE_FILE, RECEIPT = "state.npz", "receipt.json"
# The one before the last is there in case that the disk spoils the last.
KEPT = 2
Arrays = dict[str, AnyArray]


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` steps, and the rounds up to then."""

    step: int
    arrays: Arrays
    rounds: list[Round]


class Checkpoints:
    """The checkpoints of one training, `STEP/` each, in one folder; those of another training are not its own."""

    def __init__(self, folder: Path, training: str) -> None:
        """`training` tells what is trained from what else: only a checkpoint that says the same is gone on from."""
        self.folder, self.training = folder, training

    def keep(self, checkpoint: Checkpoint) -> None:
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
        for old in self._newest_first()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint of this training that is as it was written; None without one. Says which are not."""
        for folder in self._newest_first():
            try:
                checkpoint = self._read(folder)
            except (OSError, ValueError, KeyError, TypeError, InputError) as error:
                log.info(f"The checkpoint {folder} is not used, it is damaged: {error}")
                continue
            if checkpoint is not None:
                return checkpoint
        return None

    def _newest_first(self) -> list[Path]:
        return sorted((path for path in self.folder.glob("[0-9]*") if path.is_dir()), reverse=True)

    def _read(self, folder: Path) -> Checkpoint | None:
        receipt = json.loads((folder / RECEIPT).read_text())
        if receipt.pop("seal") != digest_of(receipt):
            raise InputError(f"the seal of {RECEIPT} disagrees")
        if receipt["training"] != self.training:
            return None
        check_digests(folder, receipt["digests"], leave_out=RECEIPT)
        with np.load(folder / STATE_FILE, allow_pickle=False) as stored:
            return Checkpoint(int(receipt["step"]), dict(stored), [Round(**r) for r in receipt["rounds"]])
