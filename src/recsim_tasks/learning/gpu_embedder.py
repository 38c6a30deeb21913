"""Images to vectors with the SavedModel of a model, on a GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.learning.backend import tensorflow
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.export import SAVED_MODEL
from recsim_tasks.learning.preprocessing import Pixels


class GpuEmbedder(Embedder):
    """As `Embedder`; its vectors differ from the LiteRT copy's by at most what `export` accepts."""

    batch = 2048

    def __init__(self, model_dir: Path, gpu: str) -> None:
        """Open `model_dir` on the GPU of this number; `MissingError` when TensorFlow sees none."""
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        if not tensorflow(gpus=1).config.list_physical_devices("GPU"):
            raise MissingError(
                f"Spark gave this task GPU {gpu}, but TensorFlow sees none. Install a TensorFlow with CUDA on the executors, or ask Spark for no GPUs."
            )
        super().__init__(model_dir)

    def _open(self, model_dir: Path, threads: int) -> None:  # noqa: ARG002
        self._run = tensorflow().saved_model.load(str(model_dir / SAVED_MODEL)).signatures["serving_default"]

    def _embed(self, images: Pixels) -> Any:
        return self._run(tensorflow().constant(images))["embeddings"].numpy()
