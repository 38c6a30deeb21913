"""What one training needs to know, and what it reports while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.publishing import digest_of
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.preprocessing import Preprocessing


@dataclass(frozen=True)
class Machine:
    """Where and with how much of a machine a training runs; what is trained does not depend on it."""

    home: Path = Path(".recsim")
    gpus: int = 0
    at_once: int = 1
    """Trainings, or ranks of one, that share the processors of a machine."""
    deterministic: bool = False
    """Whether a GPU may only use operations that give the same bits each time."""


@dataclass(frozen=True)
class Job:
    """One training; travels to the ranks of a training and to the trials of a search.

    `images` are seen in all, `batch` of them a step and rank; the model is examined `rounds` times, at least once every time that the
    training images were seen. `train_share` and `validation_share` of the labelled images are used.
    """

    products: str
    cursor: Cursor
    preprocessing: Preprocessing
    embedding_size: int
    categories: tuple[str, ...]
    parameters: Parameters
    images: int
    batch: int
    seed: int
    rounds: int
    train_share: float = 1.0
    validation_share: float = 1.0
    backbone: str = "cnn"
    weights: str | None = None
    """File of weights that the backbone starts from."""
    champion: str | None = None
    """Folder of the model that the network starts from."""
    machine: Machine = field(default_factory=Machine)

    def digest(self, ranks: int) -> str:
        """Tell this training on this many ranks from every other one, wherever it runs."""
        told: dict[str, Any] = {**asdict(self), "ranks": ranks, "cursor": self.cursor.as_json()}
        del told["machine"]
        return digest_of(told)


@dataclass(frozen=True)
class Round:
    """How training stands after `images` images (of all ranks), at `at` (unix seconds); quality is that of the validation images."""

    images: int
    at: float
    loss: float
    precision_at_1: float
    map_at_r: float
    spread: float
