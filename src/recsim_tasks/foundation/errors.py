"""Errors a person can act on: what, where, what to do next.

RecsimError                1  the job failed; another try may help
├── UnavailableError       1  something is away: a service, the disk's room, an executor; a retry helps once it is back
├── InputError             2  what was handed in cannot be used
├── ConfigurationError     2  a setting is wrong or a prerequisite is missing
├── MissingError           2  what the job needs does not exist: a catalogue, a release, a version, a GPU
└── HeldError              3  a gate or a guard said no; nothing was changed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel


class RecsimError(Exception):
    """A job could not be done; the message is written for the person who gets it."""

    exit_code: ClassVar[int] = 1
    # How a job's result names the error, for programs.
    error_type: ClassVar[str] = "failed"


class UnavailableError(RecsimError):
    """Something that the job needs is away: it does not answer, is full or is locked; a retry helps once it is back."""

    error_type = "unavailable"


class InputError(RecsimError):
    """A feed, an image or a parameter cannot be used as it is."""

    exit_code = 2
    error_type = "input"


class ConfigurationError(RecsimError):
    """A setting is wrong, or something that the machine needs is missing."""

    exit_code = 2
    error_type = "configuration"


class MissingError(RecsimError):
    """What the job needs does not exist: a catalogue, a release, a version, a GPU; a retry cannot help."""

    exit_code = 2
    error_type = "missing"


class HeldError(RecsimError):
    """A gate or a guard holds the refresh back; what serves goes on serving."""

    exit_code = 3
    error_type = "held"

    def __init__(self, message: str, result: BaseModel | Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        fields = result.model_dump(mode="json") if isinstance(result, BaseModel) else result
        self.result = dict(fields or {})
