"""How long every try took, under the name of what was tried."""

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
    """Seconds of all tries, and figures that are no times."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[str, float] = field(default_factory=dict)

    def call(self, name: str, function: Callable[..., Any], *arguments: Any, each: int = 1) -> Any:
        """Call a function and note how long it took, divided by how many things it did."""
        began = time.perf_counter()
        result = function(*arguments)
        self.note(name, (time.perf_counter() - began) / each)
        return result

    def note(self, name: str, seconds: float) -> None:
        """One more try."""
        self.times[name].append(seconds)
        log.info(f"{name}: {seconds:.6f} s")

    def median(self, name: str) -> float:
        """Of all tries under the name, in seconds."""
        return median(self.times[name])

    def figure(self, name: str, value: float) -> None:
        """Something else that was measured."""
        self.figures[name] = value
        log.info(f"{name}: {value:.6g}")
