"""Embeds images with the SavedModel of an encoder, on a GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recsim_tasks.arrays import UInt8Array
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.model.export import SAVED_MODEL
from recsim_tasks.learning.tensorflow_runtime import tensorflow

MAX_BATCH_SIZE = 2048
# GPU memory for a batch, and for one pixel of it: four maps of 64 float32.
BATCH_BYTES = 2 << 30
PIXEL_BYTES = 4 * 64 * 4


def max_batch_size(side: int) -> int:
    """How many images of `side` x `side` pixels a GPU embeds at once, in about 2 GiB."""
    return min(MAX_BATCH_SIZE, BATCH_BYTES // (PIXEL_BYTES * side**2))


class GpuEmbedder(Embedder):
    """Like `Embedder`; its vectors are within 1e-4 of the LiteRT copy's, since both compute in float32.

    It takes no lease on its GPU: Spark gives a GPU to one task at a time, on a host that may not share a
    folder with this one; `gpu_pool` keeps other jobs off.
    """

    def __init__(self, model_dir: Path, gpu: str) -> None:
        """Open `model_dir` on the GPU of this name; `MissingError` when TensorFlow sees none."""
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        tensorflow(gpus=1)
        super().__init__(model_dir)
        self.batch_size = max_batch_size(self.preprocessing.size)

    def _open(self, model_dir: Path, threads: int) -> None:  # noqa: ARG002
        self._run = tensorflow().saved_model.load(str(model_dir / SAVED_MODEL)).signatures["serving_default"]

    def _embed(self, images: UInt8Array) -> Any:
        return self._run(tensorflow().constant(images))["embeddings"].numpy()
