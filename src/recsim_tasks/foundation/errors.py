"""Errors that tell a person what failed, where, and what to do next.

RecsimError                1  the job failed; a retry may help
├── UnavailableError       1  a service, disk space or an executor is unavailable; a retry helps once it is back
├── InputError             2  the input cannot be used
├── ConfigurationError     2  a setting is wrong or a prerequisite is missing
├── MissingError           2  something the job needs does not exist: a catalogue, a release, a version, a GPU
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
