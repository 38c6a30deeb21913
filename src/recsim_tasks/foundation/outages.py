"""Recognise outages: whether an error means that something is full, forbidden, locked or unavailable. Pure.

MLflow, delta-rs and Spark's JVM wrap the kernel's errors in their own and keep only the text. An error is
therefore recognised by its number, its class or its text, anywhere in its chain.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

from recsim_tasks.foundation.errors import ConfigurationError, RecsimError, UnavailableError
from recsim_tasks.foundation.redaction import redacted

LONGEST_DETAIL = 300
# Their texts quote values, such as a line of a feed, which may contain anything.
QUOTING = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, NameError, AssertionError)
STACK_LINES = re.compile(r'(?m)^\s+File ".*\n.*$|^\s+at .*$|^\s+\.\.\. .*$|\x1b\[[0-9;]*m')


class Condition(NamedTuple):
    """A state of the machine or of a service, how to recognise it, and the sentence that describes it."""

    error: type[RecsimError]
    numbers: frozenset[int]
    classes: tuple[type[BaseException], ...]
    text: re.Pattern[str]
    sentence: str
    of_service: bool
    """Whether a service is in this state, not a place on a disk."""


def _condition(
    error: type[RecsimError],
    numbers: set[int],
    text: str,
    sentence: str,
    *classes: type[BaseException],
    of_service: bool = False,
) -> Condition:
    return Condition(
        error, frozenset(numbers), classes, re.compile(text, re.IGNORECASE), sentence, of_service
    )


CONDITIONS = (
    _condition(
        UnavailableError,
        {errno.ENOSPC, errno.EDQUOT, errno.EFBIG},
        r"no space left on device|disk quota exceeded|file too large|disk is full|disk i/o error"
        r"|no usable temporary directory",
        "The disk is full, or a quota or the limit on file sizes is reached, at {place} ({detail}). "
        "Free space, then run this job again.",
    ),
    _condition(
        UnavailableError,
        {errno.EMFILE, errno.ENFILE},
        r"too many open files",
        "No file descriptors are left for {place} ({detail}). "
        "Raise the limit (`ulimit -n`), then run this job again.",
    ),
    _condition(
        ConfigurationError,
        {errno.EROFS},
        r"read-only file ?system|readonly database",
        "{place} is read-only ({detail}). Make it writable, or name another place: RECSIM_HOME for recsim's "
        "files, TMPDIR for temporary ones.",
    ),
    _condition(
        ConfigurationError,
        {errno.EACCES, errno.EPERM},
        r"permission denied|AccessControlException|authentication failed|unable to locate credentials"
        r"|lacked (the necessary privileges|valid authentication credentials)|\b403 forbidden",
        "This user may not use {place} ({detail}). Grant the rights or set the credentials, or name another "
        "place in the settings.",
    ),
    _condition(
        UnavailableError,
        set(),
        r"database (table )?is locked",
        "The database of {place} is locked by another process ({detail}). Wait for that process or end it, "
        "then run this job again.",
        of_service=True,
    ),
    _condition(
        UnavailableError,
        {
            errno.ECONNREFUSED,
            errno.ECONNRESET,
            errno.ECONNABORTED,
            errno.ETIMEDOUT,
            errno.ENOTCONN,
            errno.ESTALE,
            errno.EHOSTUNREACH,
            errno.EHOSTDOWN,
            errno.ENETUNREACH,
            errno.ENETDOWN,
            errno.ENETRESET,
        },
        r"connection (refused|reset|aborted|closed|timed out)|could not connect to"
        r"|unable to execute http request"
        r"|error sending request|max retries exceeded|\btimed? ?out\b|no route to host|network is unreachable"
        r"|server closed the connection"
        r"|(temporary failure in|error in) name resolution|name or service not known"
        r"|failed to resolve|could not translate host name|too many \d+ error responses|\b5\d\d server error"
        r"|\b429 client error|service ?unavailable|reduce your request rate|stale file handle"
        r"|\b(500 internal server error|502 bad gateway|504 gateway time-?out)"
        r"|request or response body error",
        "{place} does not answer ({detail}). Start it, or correct its address in the settings, "
        "then run this job again.",
        ConnectionResetError,
        ConnectionRefusedError,
        ConnectionAbortedError,
        TimeoutError,
        socket.gaierror,
        of_service=True,
    ),
)


def diagnose(error: BaseException, place: str, service: str | None = None) -> RecsimError | None:
    """Translate `error` if it shows that something is unavailable, full or forbidden; None otherwise.

    `place` is the location that the caller was using, for errors that name no file. `service` is the service
    that it was using, if any.
    """
    chain = list(_chain(error))[::-1]  # the innermost has the shortest text
    for condition in CONDITIONS:
        for link in chain:
            detail = _detail(condition, link)
            if detail is not None:
                used = (service or place) if condition.of_service else (_file(chain) or place)
                return condition.error(condition.sentence.format(place=used, detail=detail))
    return None


def outage_behind(error: BaseException, place: str) -> UnavailableError | None:
    """The outage that `error` is or was caused by, if it passes for a fault of the input; None otherwise.

    The text of a `RecsimError` may quote the input, so that only its cause counts.
    """
    suspect = error.__cause__ if isinstance(error, RecsimError) else error
    known = diagnose(suspect, place) if suspect else None
    return known if isinstance(known, UnavailableError) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        reason = getattr(error, "reason", None)  # urllib's and urllib3's wrappers
        if error.__cause__ is None and isinstance(reason, BaseException):
            error = reason
        else:
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _detail(condition: Condition, error: BaseException) -> str | None:
    """The text of `error` in one line if it shows `condition`, else None."""
    if isinstance(error, condition.classes) or (
        isinstance(error, OSError) and error.errno in condition.numbers
    ):
        return _line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    if isinstance(error, QUOTING):
        return None
    text = STACK_LINES.sub("", str(error))
    matches = [line for line in text.splitlines() if condition.text.search(line)]
    return _line(matches[-1]) if matches else None  # causes come last


def _file(chain: list[BaseException]) -> str | None:
    named = [error.filename for error in chain if isinstance(error, OSError) and error.filename]
    return str(named[0]) if named else None


def _line(text: str) -> str:
    return " ".join(redacted(text).split())[:LONGEST_DETAIL].rstrip(".")
