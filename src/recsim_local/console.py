"""What `make demo` and `make up` print for the person who watches."""

from __future__ import annotations

import sys

from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.text import one_line


def say(sentence: str) -> None:
    """Print one line to stderr, without secrets; stdout belongs to the result."""
    print(redacted(one_line(sentence)), file=sys.stderr, flush=True)
