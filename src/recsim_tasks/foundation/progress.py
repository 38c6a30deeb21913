"""Progress of long work: a bar on a terminal, one line per step of progress in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from recsim_tasks.foundation.logging import terminal

log = logging.getLogger(__name__)
Advance = Callable[[int], None]
LINE_EVERY_SECONDS = 10.0


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Advance]:
    """Show how many of `total` `unit`s are done; call the yielded function with each finished amount."""
    if sys.stderr.isatty():
        with _bar(label, total, unit) as advance:
            yield advance
        return
    lines = _Lines(label, total, unit)
    yield lines.advance
    lines.close()


@contextmanager
def _bar(label: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal()) as bar:
        task = bar.add_task(label, total=total)
        yield lambda n: bar.advance(task, n)


class _Lines:
    """Logs a line every ten seconds, with the time left, and one at the end."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.started = self.logged_at = time.monotonic()

    def advance(self, n: int) -> None:
        self.done += n
        share, now = self.done / max(self.total, 1), time.monotonic()
        if now - self.logged_at < LINE_EVERY_SECONDS:
            return
        self.logged_at = now
        left = (now - self.started) * (1 - share) / share if share else 0.0
        done = f"{self.done:,} of {self.total:,} {self.unit} ({share:.0%})"
        log.info("%s: %s, about %.0f s left", self.label, done, left)

    def close(self) -> None:
        seconds = time.monotonic() - self.started
        log.info("%s: %s %s in %.1f s", self.label, f"{self.done:,}", self.unit, seconds)
