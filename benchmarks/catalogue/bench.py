"""The tables of the benchmark, and timed runs of each operation on them."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa

from benchmarks.catalogue import data, delta_rs
from benchmarks.catalogue.sessions import Session, Time, build_home, ingest, timed

log = logging.getLogger(__name__)
EFFECT = {"inserted", "updated", "deleted", "quarantined"}


@dataclass(frozen=True)
class Size:
    """A catalogue of `count` products, the same table for delta-rs, a feed, and the feed's validated rows."""

    count: int
    home: Path
    delta_rs: Path
    feed: Path
    changes: pa.Table


@dataclass
class CatalogueBench:
    """The benchmark's folder, and the times of all runs by the name of the operation."""

    root: Path
    times: dict[str, list[Time]] = field(default_factory=lambda: defaultdict(list))
    effects: dict[Path, dict[str, int]] = field(default_factory=dict)
    copies: int = 0

    def median(self, name: str) -> Time:
        """Return the median time of an operation."""
        return Time(
            median(time.wall for time in self.times[name]), median(time.cpu for time in self.times[name])
        )

    def size(self, builder: Session, count: int) -> Size:
        """Build a catalogue of `count` products, and a daily feed."""
        folder = self.root / str(count)
        data.write_products(folder / "rows", count)
        return self._size(builder, count, folder / "rows", data.day_feed(folder, f"day-{count}", count))

    def empty(self, builder: Session, count: int) -> Size:
        """Build an empty catalogue, and a feed of `count` new products."""
        folder = self.root / f"first-{count}"
        return self._size(builder, 0, None, data.first_feed(folder, f"first-{count}", count))

    @contextmanager
    def copy(self, folder: Path) -> Iterator[Path]:
        """Yield a temporary copy with a new name, so that no cache of an earlier one applies."""
        self.copies += 1
        copy = data.copy_home(folder, self.root / f"copy-{self.copies}")
        yield copy
        shutil.rmtree(copy)

    def ingest(self, name: str, session: Session, home: Path, feed: Path) -> None:
        """Time an ingest; raises if its effect differs from that in another variant."""
        result = self.spark(name, session, ingest, home, feed)
        (effect,) = (entry.model_dump(include=EFFECT) for entry in result.feeds)
        if not result.applied or self.effects.setdefault(feed, effect) != effect:
            raise RuntimeError(
                f"{name}: the effect is {effect}, in another variant it was {self.effects[feed]}."
            )

    def redeliver(self, name: str, session: Session, home: Path, feed: Path) -> None:
        """Time an ingest of the same feed again."""
        if self.spark(name, session, ingest, home, feed).applied:
            raise RuntimeError(f"{name}: the feed was applied twice.")

    def spark(self, name: str, session: Session, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the session's process."""
        return self._note(name, *session.run(timed, function, *arguments))

    def call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in this process."""
        return self._note(name, *timed(function, *arguments))

    def _size(self, builder: Session, count: int, rows: Path | None, feed: Path) -> Size:
        home, table = feed.parent / "home", feed.parent / "delta-rs"
        builder.run(build_home, home, rows)
        delta_rs.build_table(table, rows)
        return Size(count, home, table, feed, data.validated_rows(feed))

    def _note(self, name: str, elapsed: Time, result: Any) -> Any:
        self.times[name].append(elapsed)
        log.info("%s: %.3f s, %.2f s of CPU", name, elapsed.wall, elapsed.cpu)
        return result
