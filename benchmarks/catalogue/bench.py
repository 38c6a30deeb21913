"""The tables that are benched, and one timed try of each thing that can be done to them."""

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


@dataclass(frozen=True)
class Size:
    """A catalogue of `count` products before a feed; the same for delta-rs; the feed, and its rows as a merge takes them."""

    count: int
    home: Path
    delta_rs: Path
    feed: Path
    changes: pa.Table


@dataclass
class CatalogueBench:
    """Where everything lies, and how long every try took, under the name of what was tried."""

    root: Path
    times: dict[str, list[Time]] = field(default_factory=lambda: defaultdict(list))
    done: dict[Path, list[int]] = field(default_factory=dict)
    copies: int = 0

    def median(self, name: str) -> Time:
        """Of all tries under the name."""
        return Time(
            median(time.wall for time in self.times[name]), median(time.cpu for time in self.times[name])
        )

    def size(self, builder: Session, count: int) -> Size:
        """A catalogue of `count` products, and the feed of a day."""
        folder = self.root / str(count)
        data.write_products(folder / "rows", count)
        return self._size(builder, count, folder / "rows", data.day_feed(folder, f"day-{count}", count))

    def empty(self, builder: Session, count: int) -> Size:
        """An empty catalogue, and a feed of `count` new products."""
        folder = self.root / f"first-{count}"
        return self._size(builder, 0, None, data.first_feed(folder, f"first-{count}", count))

    @contextmanager
    def copy(self, folder: Path) -> Iterator[Path]:
        """A copy to spoil, under a name of its own, so that no cache of an earlier one serves it."""
        self.copies += 1
        copy = data.copy_home(folder, self.root / f"copy-{self.copies}")
        yield copy
        shutil.rmtree(copy)

    def ingest(self, name: str, session: Session, home: Path, feed: Path) -> None:
        """Take the feed in; raises when that does something else to the products than it did in another variant."""
        result = self.spark(name, session, ingest, home, feed)
        done = [result[key] for key in ("applied", "inserted", "updated", "deleted", "quarantined")]
        if not result["applied"] or self.done.setdefault(feed, done) != done:
            raise RuntimeError(f"{name}: expected {self.done[feed]}, but the ingest did {result}")

    def redeliver(self, name: str, session: Session, home: Path, feed: Path) -> None:
        """Deliver the feed again."""
        if self.spark(name, session, ingest, home, feed)["applied"]:
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
        return Size(count, home, table, feed, data.examined(feed))

    def _note(self, name: str, taken: Time, result: Any) -> Any:
        self.times[name].append(taken)
        log.info(f"{name}: {taken.wall:.3f} s, {taken.cpu:.2f} s of CPU")
        return result
