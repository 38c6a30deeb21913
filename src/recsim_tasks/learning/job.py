"""What one training needs to know, and what it reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.learning.parameters import Parameters
from recsim_tasks.learning.preprocessing import Preprocessing


@dataclass(frozen=True)
class Job:
    """One training; travels to the ranks of a training and to the trials of a search.

    `images` are seen in all, `batch` of them a step and rank; the model is examined `rounds` times. `train_share` and `validation_share` of the labelled images are used.
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
    gpus: int = 0


@dataclass(frozen=True)
class Round:
    """How training stands after `images` images (of all ranks), at `at` (unix seconds); quality is that of the validation images."""

    images: int
    at: float
    loss: float
    precision_at_1: float
    map_at_r: float
    spread: float
