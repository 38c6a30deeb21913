"""Turn any exception of a row or image into a stable one-line reason."""

from __future__ import annotations

import logging
import re
import struct
import traceback
import zlib
from functools import cache

from recsim_tasks.foundation.redaction import redacted

log = logging.getLogger(__name__)

# Decoders raise these for damaged input. Any other exception may also be a bug of recsim.
EXPECTED = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError)
# The repr of an object has its address, which differs from run to run.
ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>|\b0x[0-9a-f]{6,}\b")
MAX_LENGTH = 200


def reason_of(error: Exception) -> str:
    """Return the error's message, equal for equal input.

    An unexpected error is also logged, once for each code location.
    """
    if not isinstance(error, EXPECTED):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        _warn_once(type(error).__name__, f"{frame.filename}:{frame.lineno}")
    if isinstance(error, struct.error) or isinstance(error.__cause__, struct.error):
        return "it is truncated or damaged"
    text = ADDRESS.sub("an object", redacted(str(error)).partition("\n")[0]).encode(errors="replace").decode()
    known = isinstance(error, EXPECTED) and text
    return (text if known else f"{type(error).__name__} {text}").strip()[:MAX_LENGTH]


@cache
def _warn_once(kind: str, where: str) -> None:
    log.warning("An input raised %s at %s. It is quarantined; if many inputs do, report a bug.", kind, where)
