"""Timings of a benchmark by name."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

log = logging.getLogger(__name__)


@dataclass
class Bench:
    """Seconds of all repetitions, and figures that are not times."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[str, float] = field(default_factory=dict)

    def call(self, name: str, function: Callable[..., Any], *arguments: Any, each: int = 1) -> Any:
        """Call a function; record its seconds divided by `each`, the number of things it did."""
        began = time.perf_counter()
        result = function(*arguments)
        self.note(name, (time.perf_counter() - began) / each)
        return result

    def note(self, name: str, seconds: float) -> None:
        """Record the seconds of one repetition."""
        self.times[name].append(seconds)
        log.info("%s: %.6f s", name, seconds)

    def median(self, name: str) -> float:
        """Return the median of all repetitions, in seconds."""
        return median(self.times[name])

    def figure(self, name: str, value: float) -> None:
        """Record a figure that is not a time."""
        self.figures[name] = value
        log.info("%s: %.6g", name, value)
