"""What `make demo` and `make up` print for the person at the terminal."""

from __future__ import annotations

import sys

from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.text import one_line


def echo(text: str) -> None:
    """Print one line to stderr, without secrets; stdout is for results."""
    print(redacted(one_line(text)), file=sys.stderr, flush=True)
