"""Say in a sentence why one row or image cannot be examined, whatever exception came of it."""

from __future__ import annotations

import logging
import re
import struct
import traceback
import zlib
from functools import cache

from recsim_tasks.foundation.redaction import redacted

log = logging.getLogger(__name__)

# By these a decoder says that its input is damaged. All others may also be a mistake in our code.
EXPECTED = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError)
# Objects are named by their place in memory, which is another one each time.
ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>|\b0x[0-9a-f]{6,}\b")
LONGEST = 200


def reason_of(error: Exception) -> str:
    """The error's message, the same for the same input; an unexpected error is also logged, once a place."""
    if not isinstance(error, EXPECTED):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        _log(type(error).__name__, f"{frame.filename}:{frame.lineno}")
    if isinstance(error, struct.error) or isinstance(error.__cause__, struct.error):
        return "it is cut short or damaged"
    text = ADDRESS.sub("an object", redacted(str(error)).partition("\n")[0]).encode(errors="replace").decode()
    known = isinstance(error, EXPECTED) and text
    return (text if known else f"{type(error).__name__} {text}").strip()[:LONGEST]


@cache
def _log(kind: str, where: str) -> None:
    log.info(
        f"An input raised {kind} at {where}. It was put aside; if other inputs do as well, report a bug."
    )
