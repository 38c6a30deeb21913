"""The report of a benchmark: the machine, a table of ratios with their goals, one JSON line."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

AT_LEAST = ("peer/ours", "of", "ours")
Ratio = Literal["ours/peer", "peer/ours", "ours-peer", "peer-ours", "of", "ours"]


@dataclass(frozen=True)
class Measure:
    """One line of the table: `ours` and the `peer`, in seconds or another unit, and their ratio."""

    name: str
    what: str
    ours: float
    peer: float
    against: str
    ratio: Ratio = "ours/peer"
    """`of` is ours divided by the peer where more is better; `ours` is no ratio."""
    goal: float | None = None
    """Minimum of `peer/ours`, `of` and `ours`, maximum of the others; None without a goal."""
    cpu: tuple[float, float] | None = None
    """CPU seconds of ours and of the peer, which hardly depend on other work of the machine."""
    unit: str = "s"
    """Of `ours`, `peer` and a difference."""

    @property
    def value(self) -> float:
        """The ratio."""
        return self._of(self.ours, self.peer)

    @property
    def cpu_value(self) -> float | None:
        """The ratio of CPU seconds; None where they were not measured or are zero."""
        return self._of(*self.cpu) if self.cpu and min(self.cpu) > 0 else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.ratio in AT_LEAST else self.value <= self.goal

    def as_json(self) -> dict[str, Any]:
        """Return the form of the last line."""
        result = {
            "value": _three(self.value),
            "unit": self.ratio,
            "peer": self.against,
            "goal": self.goal,
            "met": self.met,
        }
        cpu = {} if self.cpu_value is None else {"cpu_value": _three(self.cpu_value)}
        names = ("ours_seconds", "peer_seconds") if self.unit == "s" else ("ours", "peer")
        return (
            result | cpu | dict(zip(names, (_significant(self.ours), _significant(self.peer)), strict=True))
        )

    def _of(self, ours: float, peer: float) -> float:
        if self.ratio == "ours":
            return ours
        one, other = (peer, ours) if self.ratio.startswith("peer") else (ours, peer)
        return one - other if "-" in self.ratio else one / other


def machine(*packages: str) -> str:
    """Describe the machine, its versions of `packages`, and its load."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = (
        int(next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0"))
        >> 20
    )
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    hardware = f"{cpu}, {os.cpu_count()} CPUs, {memory} GiB"
    return f"{hardware}; Python {platform.python_version()}, {versions}; load {load}"


def table(measures: Iterable[Measure]) -> str:
    """Format the measures as a Markdown table."""
    lines = [
        "| | measured | ours | peer | the peer | ratio | of CPU time | goal | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for m in measures:
        sign = "≥" if m.ratio in AT_LEAST else "≤"
        goal = "" if m.goal is None else f"{sign} {m.goal:g}"
        met = {True: "yes", False: "NO", None: ""}[m.met]
        cpu = "" if m.cpu_value is None else f"{m.cpu_value:.3g}"
        lines.append(
            f"| {m.name} | {m.what} | {_formatted(m.ours, m.unit)} | {_formatted(m.peer, m.unit)} "
            f"| {m.against} | {m.value:.3g} {m.ratio} | {cpu} | {goal} | {met} |"
        )
    return "\n".join(lines)


def last_line(measures: Iterable[Measure]) -> str:
    """Format all measures by name, as JSON."""
    return json.dumps({measure.name: measure.as_json() for measure in measures})


def _three(value: float) -> float:
    """Round to three digits."""
    return float(f"{value:.3g}")


def _significant(value: float) -> float:
    """Round to four digits."""
    return float(f"{value:.4g}")


def _formatted(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:.4g} {unit}".strip()
    return (
        f"{value:.2f} s"
        if value >= 1
        else f"{value * 1000:.3g} ms"
        if value >= 1e-3
        else f"{value * 1e6:.3g} µs"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
