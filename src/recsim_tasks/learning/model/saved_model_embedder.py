"""Images to vectors with the SavedModel of a model, on a GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recsim_tasks.arrays import UInt8Array
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.model.export import SAVED_MODEL
from recsim_tasks.learning.tensorflow_runtime import tensorflow

LARGEST_BATCH = 2048
# What a batch may take of the GPU's memory, and what a pixel takes: four maps of 64 float32.
BATCH_BYTES = 2 << 30
PIXEL_BYTES = 4 * 64 * 4


def batch_of(side: int) -> int:
    """How many images of `side` x `side` pixels a GPU embeds at once, in about 2 GiB."""
    return min(LARGEST_BATCH, BATCH_BYTES // (PIXEL_BYTES * side**2))


class GpuEmbedder(Embedder):
    """As `Embedder`; its vectors are within 1e-4 of the LiteRT copy's, since both compute in float32.

    It holds no lease on its GPU. Spark gives a GPU to one task at a time, on a host that need not share a folder
    with us; other jobs are kept off by `gpu_pool`.
    """

    def __init__(self, model_dir: Path, gpu: str) -> None:
        """Open `model_dir` on the GPU of this name; `MissingError` when TensorFlow sees none."""
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        tensorflow(gpus=1)
        super().__init__(model_dir)
        self.batch = batch_of(self.preprocessing.size)

    def _open(self, model_dir: Path, threads: int) -> None:  # noqa: ARG002
        self._run = tensorflow().saved_model.load(str(model_dir / SAVED_MODEL)).signatures["serving_default"]

    def _embed(self, images: UInt8Array) -> Any:
        return self._run(tensorflow().constant(images))["embeddings"].numpy()
