"""The manifest of a release: what is in the bundle, what it was made from, and what it must answer."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.publishing import check_digests, digest_of, write_json
from recsim_tasks.learning.preprocessing import Preprocessing

MANIFEST_FILE = "manifest.json"
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Canary(BaseModel):
    """An image, in base64, and the vector that the release's model must give for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    vector: list[float]

    @property
    def data(self) -> bytes:
        """The image as it was delivered."""
        return base64.b64decode(self.image)


class Training(BaseModel):
    """The training of a release's model, which its later releases carry on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: float
    """When it ended, in seconds since the epoch."""
    categories: list[str]
    """What it could learn to tell apart."""
    unseen: int
    """Images that the releases since have taken in."""
    backbone: str
    params: dict[str, float | str]
    """Its hyperparameters, the first that the next search tries."""


class Manifest(BaseModel):
    """The receipt of a bundle, written last; `digests` cover every other file, `seal` every other field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release_format: Literal[6] = 6
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
    """`products`, `categories`; how many products the index was `built` of, and its `churn` since."""
    metrics: dict[str, float]
    canaries: list[Canary]
    digests: dict[str, Digest]
    """SHA-256 of every other file of the bundle by its relative path."""
    seal: str = ""

    def sealed(self) -> Self:
        """Give this manifest with its seal."""
        return self.model_copy(update={"seal": self._sum()})

    def write(self, folder: Path) -> None:
        """Write the manifest into its bundle."""
        write_json(folder / MANIFEST_FILE, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of the bundle in `folder`; `InputError` when there is none, or it is not as it was written."""
        path = folder / MANIFEST_FILE
        try:
            manifest = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(
                f"{folder} holds no release: {MANIFEST_FILE} cannot be read. Download the release again."
            ) from error
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "the file"
            raise InputError(
                f"{path} is not a manifest ({place}: {fault['msg']}). Download the release again."
            ) from error
        if manifest.seal != manifest._sum():
            raise InputError(
                f"{path} was changed after it was written: its seal disagrees. Download the release again."
            )
        return manifest

    @classmethod
    def of_whole(cls, folder: Path) -> Self:
        """Read the manifest of a bundle all of whose files are as it lists them; `InputError` when one is not."""
        manifest = cls.read(folder)
        check_digests(folder, manifest.digests, leave_out=MANIFEST_FILE)
        return manifest

    def _sum(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude={"seal"}))
