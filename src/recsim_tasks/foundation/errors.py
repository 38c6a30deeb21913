"""Errors that a person can act on: what happened, where, and what to do next.

RecsimError                1  the job failed; a retry may help
├── UnavailableError       1  a service, an executor or disk space is unavailable; retry until it is back
├── InputError             2  a feed, an image or a parameter is unusable
├── ConfigurationError     2  a setting is wrong or a prerequisite is missing
├── MissingError           2  a catalogue, a release, a version or a GPU does not exist
└── BlockedError           3  a rule or a person does not let the refresh continue; nothing was changed
    ├── RejectedError         the gate or a person rejected a release, or an index differs from a rebuild
    ├── OnHoldError           a guard put a feed on hold
    └── FrozenError           promotions are frozen
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


class BlockedError(RecsimError):
    """A rule or a person does not let the refresh continue; the served release stays as it is."""

    exit_code = 3
    error_type = "blocked"

    def __init__(self, message: str, result: BaseModel | Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        fields = result.model_dump(mode="json") if isinstance(result, BaseModel) else result
        self.result = dict(fields or {})


class RejectedError(BlockedError):
    """The gate or a person rejected a release, or an index differs from a rebuild."""

    error_type = "rejected"


class OnHoldError(BlockedError):
    """A guard put a feed on hold until a person accepts or refuses it."""

    error_type = "on_hold"


class FrozenError(BlockedError):
    """Promotions are frozen until a person resumes them."""

    error_type = "frozen"
