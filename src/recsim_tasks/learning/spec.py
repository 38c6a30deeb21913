"""What defines one training, and what it reports while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.publishing import digest_of
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.preprocessing import Preprocessing


@dataclass(frozen=True)
class Resources:
    """Where a training runs and how much of a machine it gets; what it learns does not depend on that."""

    home: Path = Path(".recsim")
    gpus: int = 0
    concurrency: int = 1
    """Trainings, or ranks of one, that share the processors of a machine."""
    deterministic: bool = False
    """Restricts a GPU to operations that give the same bits each time."""


@dataclass(frozen=True)
class TrainingSpec:
    """One training; it is sent to the ranks of a training and to the trials of a search.

    The network sees `images` images in all, with repetition, `batch_size` per step and rank. There are
    `rounds` rounds, each followed by a validation, at least one per pass over the training images.
    `train_share` and `validation_share` of the labelled images are used.
    """

    products_uri: str
    cursor: Cursor
    preprocessing: Preprocessing
    embedding_size: int
    categories: tuple[str, ...]
    hyperparameters: Hyperparameters
    images: int
    batch_size: int
    seed: int
    rounds: int
    train_share: float = 1.0
    validation_share: float = 1.0
    backbone: str = "cnn"
    backbone_weights: str | None = None
    """File of weights that the backbone starts from."""
    initial_model: str | None = None
    """Model folder whose weights the network starts from: the champion's, for a warm start."""
    resources: Resources = field(default_factory=Resources)

    def digest(self, ranks: int) -> str:
        """The identity of this training on this many ranks, wherever it runs."""
        fields = {**asdict(self), "ranks": ranks}
        del fields["resources"]
        return digest_of(fields)


@dataclass(frozen=True)
class ValidationResult:
    """How a training stands at the end of a round; quality is that of the validation images."""

    images: int
    """Images seen so far by all ranks."""
    at: float
    """Seconds since the epoch."""
    loss: float
    """Mean over the round."""
    precision_at_1: float
    map_at_r: float
    spread: float
    """Total variance of the embeddings; see `divergence.spread`."""
