"""Images to vectors with the LiteRT copy of a model: starts in a fraction of a second and needs no TensorFlow."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from recsim_tasks.arrays import Float32Array, UInt8Array
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.learning.preprocessing import BACKGROUND, Preprocessing

LITERT_FILE = "model.tflite"
DESCRIPTION_FILE = "model.json"


class Embedder:
    """One model folder, opened; may be shared by threads, which then take turns."""

    batch = 256

    def __init__(self, model_dir: Path, threads: int = 1) -> None:
        """Open `model_dir`; `InputError` if it holds no model. Whoever fetched it has checked its digests."""
        try:
            self.description: dict[str, Any] = read_json(model_dir / DESCRIPTION_FILE)
            self.fingerprint = str(self.description["fingerprint"])
            self.preprocessing = Preprocessing(
                int(self.description["image_size"]), int(self.description["image_channels"])
            )
            self.embedding_size = int(self.description["embedding_size"])
            self._open(model_dir, threads)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{model_dir} holds no model that can be opened: {error}. Run `recsim train` first."
            ) from error
        if self.description.get("background") != BACKGROUND:
            raise InputError(
                f"The model in {model_dir} comes from a build that did not put transparent images on {BACKGROUND}. Run the refresh with mode retrain."
            )
        self._lock = Lock()

    def _open(self, model_dir: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(model_dir / LITERT_FILE), num_threads=threads)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._allocated = 0

    def embed(self, images: UInt8Array) -> Float32Array:
        """Return unit vectors, float32 [n, embedding_size], of uint8 images [n, size, size, channels]; an `InputError` for another shape."""
        if images.dtype != np.uint8 or images.shape[1:] != self.preprocessing.shape:
            raise InputError(
                f"The model takes uint8 images of {self.preprocessing.shape}, given are {images.dtype} of {images.shape[1:]}. Decode them with its preprocessing."
            )
        vectors = np.empty((len(images), self.embedding_size), np.float32)
        with self._lock:
            for start in range(0, len(images), self.batch):
                vectors[start : start + self.batch] = self._embed(images[start : start + self.batch])
        return vectors

    def _embed(self, images: UInt8Array) -> Float32Array:
        if len(images) != self._allocated:
            self._interpreter.resize_tensor_input(self._input, images.shape, strict=True)
            self._interpreter.allocate_tensors()
            self._allocated = len(images)
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)  # type: ignore[no-any-return]
