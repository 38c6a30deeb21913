"""Errors that a person can act on: what happened, where, and what to do next.

RecsimError                1  the job failed; a retry may help
├── UnavailableError       1  a service, an executor or disk space is unavailable; a retry helps once it is back
├── InputError             2  a feed, an image or a parameter is unusable
├── ConfigurationError     2  a setting is wrong or a prerequisite is missing
├── MissingError           2  a catalogue, a release, a version or a GPU does not exist
└── HeldError              3  a gate or a guard said no; nothing was changed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel


class RecsimError(Exception):
    """A job failed; the message is written for the person who reads it."""

    exit_code: ClassVar[int] = 1
    # The name of the error in a job's result.
    error_type: ClassVar[str] = "failed"


class UnavailableError(RecsimError):
    """A resource does not answer, is full or is locked; a retry helps once it is back."""

    error_type = "unavailable"


class InputError(RecsimError):
    """A feed, an image or a parameter is unusable."""

    exit_code = 2
    error_type = "input"


class ConfigurationError(RecsimError):
    """A setting is wrong, or the machine lacks a prerequisite."""

    exit_code = 2
    error_type = "configuration"


class MissingError(RecsimError):
    """A catalogue, a release, a version or a GPU does not exist; a retry cannot help."""

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
