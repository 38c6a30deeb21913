"""Errors a person can act on: what, where, what to do next.

RecsimError                1  the job failed
├── InputError             2  what was handed in cannot be used
├── ConfigurationError     2  a setting is wrong or a prerequisite is missing
├── UnavailableError       2  a service or table that the job needs does not answer
└── HeldError              3  a gate or a guard said no; nothing was changed
"""

from __future__ import annotations


class RecsimError(Exception):
    """A job could not be done; the message is written for the person who gets it."""

    exit_code = 1


class InputError(RecsimError):
    """A feed, an image or a parameter cannot be used as it is."""

    exit_code = 2


class ConfigurationError(RecsimError):
    """A setting is wrong, or something that the machine needs is missing."""

    exit_code = 2


class UnavailableError(RecsimError):
    """A service or a table that the job needs does not answer or does not exist yet."""

    exit_code = 2


class HeldError(RecsimError):
    """A gate or a guard holds the refresh back; what serves goes on serving."""

    exit_code = 3

    def __init__(self, message: str, result: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.result = result or {}
