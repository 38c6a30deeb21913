"""Translate what delta-rs and Arrow raise when they read a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.outages import diagnose


@contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Turn errors about storage that is away or denies access into errors that name the table."""
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError, pa.ArrowInvalid) as error:
        # Arrow passes on delta-rs's text in an `ArrowInvalid`, which as a `ValueError` would pass for a fault
        # of the input.
        cause = DeltaError(str(error)) if isinstance(error, pa.ArrowInvalid) else error
        if known := diagnose(cause, f"the table {uri}"):
            raise known from error
        raise


@contextmanager
def translate_read_errors(uri: str, version: int) -> Iterator[None]:
    """Like `translate_errors`; any other error becomes a `MissingError`: data files are gone or damaged."""
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    try:
        with translate_errors(uri):
            yield
    except (DeltaError, OSError, pa.ArrowInvalid) as error:
        raise MissingError(
            f"Version {version} of the table at {uri} can no longer be read: {error}. Start a new refresh."
        ) from error
