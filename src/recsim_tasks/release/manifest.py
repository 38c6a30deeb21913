"""The manifest of a release: what the bundle contains, its origin, and how its model must behave."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsim_tasks.contracts import Cursor, Metrics
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.outages import diagnose
from recsim_tasks.foundation.publishing import check_digests, digest_of, write_json
from recsim_tasks.learning.preprocessing import Preprocessing

MANIFEST_FILE = "manifest.json"
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Canary(BaseModel):
    """An image in base64, and the vector that the release's model must embed it as."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    vector: list[float]

    @property
    def data(self) -> bytes:
        """The bytes of the image."""
        return base64.b64decode(self.image)


class Training(BaseModel):
    """The training of a release's model; later releases with this model carry it on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: float
    """When it ended, in seconds since the epoch."""
    categories: list[str]
    """The categories of the training images."""
    unseen: int
    """Images that later releases have added."""
    backbone: str
    params: dict[str, float | str]
    """Its hyperparameters, which the next search tries first."""


class Manifest(BaseModel):
    """The receipt of a bundle, written last; `digests` cover every other file, `seal` every other field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release_format: Literal[7] = 7
    cursor: Cursor
    catalogue_at: float
    """When that version of the catalogue was committed, in seconds since the epoch."""
    model_fingerprint: Digest
    index_fingerprint: Digest
    mlflow_run_id: str | None
    """The run that trained the model."""
    training: Training
    preprocessing: Preprocessing
    embedding_size: int
    counts: dict[str, int]
    """`products`, `categories`, the products of the index when it was `built`, and its `churn` since."""
    metrics: Metrics
    canaries: list[Canary]
    digests: dict[str, Digest]
    """SHA-256 of every other file of the bundle, by relative path."""
    seal: str = ""

    def sealed(self) -> Self:
        """The manifest with its seal."""
        return self.model_copy(update={"seal": self._sum()})

    def write(self, folder: Path) -> None:
        """Write the manifest into its bundle."""
        write_json(folder / MANIFEST_FILE, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of the bundle in `folder`.

        `InputError` if it is missing, malformed or changed; `UnavailableError` or `ConfigurationError` if the
        machine does not let it be read.
        """
        path = folder / MANIFEST_FILE
        try:
            manifest = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise diagnose(error, str(path)) or InputError(
                f"{folder} contains no release: {MANIFEST_FILE} cannot be read. Download the release again."
            ) from error
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "the file"
            raise InputError(
                f"{path} is not a manifest ({place}: {fault['msg']}). Download the release again."
            ) from error
        if manifest.seal != manifest._sum():
            raise InputError(
                f"{path} was changed after it was written: its seal does not match. Download the release "
                f"again."
            )
        return manifest

    @classmethod
    def of_whole(cls, folder: Path) -> Self:
        """Read the manifest of a bundle and check all its files; `InputError` if one does not match."""
        manifest = cls.read(folder)
        check_digests(folder, manifest.digests, leave_out=MANIFEST_FILE)
        return manifest

    def _sum(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude={"seal"}))
