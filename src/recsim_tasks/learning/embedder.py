"""Embeds images with the LiteRT copy of an encoder, which opens quickly and needs no TensorFlow."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from recsim_tasks.arrays import Float32Array, UInt8Array
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.native_output import without_native_noise
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.learning.preprocessing import BACKGROUND, Preprocessing

LITERT_FILE = "model.tflite"
DESCRIPTION_FILE = "model.json"


class EncoderDescription(BaseModel):
    """The content of model.json: an encoder's fingerprint and everything that its embeddings depend on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    fingerprint: str
    """SHA-256 of the LiteRT file and of the fields below, up to `embedding_size`."""
    image_size: int
    image_channels: int
    background: str = ""
    """The colour behind transparent images."""
    embedding_size: int
    catalogue: Cursor | None = None
    """The version of the catalogue that it was trained on."""
    mlflow_run_id: str | None = None

    @classmethod
    def read(cls, model_dir: Path) -> Self:
        """Read model.json without opening the model; `InputError` when it is missing or invalid."""
        try:
            return cls.model_validate(read_json(model_dir / DESCRIPTION_FILE))
        except ValidationError as error:
            faults = ["".join(f"{name}: " for name in e["loc"]) + e["msg"] for e in error.errors()]
            raise _no_model(model_dir, f"{DESCRIPTION_FILE}: {'; '.join(faults)}") from error
        except (OSError, ValueError) as error:
            raise _no_model(model_dir, error) from error

    @property
    def preprocessing(self) -> Preprocessing:
        """What the encoder takes as input."""
        return Preprocessing(self.image_size, self.image_channels)


class TrainedEncoderDescription(EncoderDescription):
    """The description of an encoder that `recsim train` made, with its training."""

    training: str
    """Digest of the training; see `TrainingSpec.digest`."""
    catalogue: Cursor
    backbone: str
    categories: list[str]
    params: dict[str, float | str]
    """Hyperparameters."""
    metrics: dict[str, float]
    """Metrics of the validation images in the last round."""
    quality: dict[str, float]
    """Metrics of the test images; empty without test images."""
    ranks: int
    mlflow_run_id: str
    trained_at: float
    """Seconds since the epoch."""


class Embedder:
    """An open model folder. Threads may share it; they take turns."""

    batch_size = 256

    def __init__(self, model_dir: Path, threads: int = 1) -> None:
        """Open `model_dir`, whose digests the caller has checked; `InputError` if it contains no model."""
        self.description = EncoderDescription.read(model_dir)
        self.fingerprint = self.description.fingerprint
        self.preprocessing = self.description.preprocessing
        self.embedding_size = self.description.embedding_size
        try:
            self._open(model_dir, threads)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _no_model(model_dir, error) from error
        if self.description.background != BACKGROUND:
            raise InputError(
                f"The model in {model_dir} was made by a build that did not show transparent images on "
                f"{BACKGROUND}. Run the refresh with mode retrain."
            )
        self._lock = Lock()

    def _open(self, model_dir: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with without_native_noise():
            self._interpreter = Interpreter(model_path=str(model_dir / LITERT_FILE), num_threads=threads)
            self._interpreter.allocate_tensors()  # for one image; its first call logs a line
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._allocated = 1

    def embed(self, images: UInt8Array) -> Float32Array:
        """Return unit vectors, float32 [n, embedding_size], of `images`, uint8 [n, size, size, channels].

        Raises `InputError` for images of another shape or type.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.preprocessing.shape:
            raise InputError(
                f"The model takes uint8 images of {self.preprocessing.shape}, not {images.dtype} of "
                f"{images.shape[1:]}. Decode them with the model's preprocessing."
            )
        vectors = np.empty((len(images), self.embedding_size), np.float32)
        with self._lock:
            for start in range(0, len(images), self.batch_size):
                vectors[start : start + self.batch_size] = self._embed(
                    images[start : start + self.batch_size]
                )
        return vectors

    def _embed(self, images: UInt8Array) -> Float32Array:
        if len(images) != self._allocated:
            self._interpreter.resize_tensor_input(self._input, images.shape, strict=True)
            self._interpreter.allocate_tensors()
            self._allocated = len(images)
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)  # type: ignore[no-any-return]


def _no_model(model_dir: Path, reason: object) -> InputError:
    return InputError(
        f"{model_dir} contains no model that can be opened: {reason}. Run `recsim train` first."
    )
