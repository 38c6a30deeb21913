"""Prometheus metrics of one process, or summed over the workers that share a folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from recsim_tasks.release.bundle import Release


class GaugeSpec(NamedTuple):
    """The help text of a gauge, and how the values of several workers are combined."""

    text: str
    combine: Literal["livemin", "livemax"]


GAUGES = {
    "recsim_release": GaugeSpec(
        "Version of the release that is served; the lowest of all workers, 0 while one has none.", "livemin"
    ),
    "recsim_release_catalogue_version": GaugeSpec(
        "Version of the catalogue that the release reflects.", "livemin"
    ),
    "recsim_release_catalogue_timestamp_seconds": GaugeSpec(
        "When that version of the catalogue was committed; its age is `time()` minus this.", "livemin"
    ),
    "recsim_release_products": GaugeSpec("Number of products in the release.", "livemin"),
    "recsim_swap_problem": GaugeSpec(
        "1 while the champion is not being served; /health/ready says why.", "livemax"
    ),
    "recsim_registry_up": GaugeSpec("1 if the registry answered the last request.", "livemin"),
}
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """All metrics of one app, in a registry of its own so that several apps in a process do not add up."""

    def __init__(self, shared: Path | None = None) -> None:
        registry = self._registry = CollectorRegistry()
        self._shared = shared
        self.requests = Counter(
            "recsim_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "recsim_request_seconds", "Response time.", ["route"], buckets=BUCKETS, registry=registry
        )
        self.in_flight = Gauge(
            "recsim_requests_in_flight",
            "Requests in progress.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._gauges: dict[str, Gauge] = {}
        self.refused = Counter(
            "recsim_overload", "Requests refused because too many were in progress.", registry=registry
        )
        self.swaps = Counter(
            "recsim_swaps", "Swaps to another release: done or refused.", ["outcome"], registry=registry
        )

    def set_release(self, version: int, release: Release) -> None:
        """Record which release is served from now on."""
        manifest = release.manifest
        self.set_gauge("recsim_release", version)
        self.set_gauge("recsim_release_catalogue_version", manifest.cursor.version)
        self.set_gauge("recsim_release_catalogue_timestamp_seconds", manifest.catalogue_at)
        self.set_gauge("recsim_release_products", len(release.index))

    def set_gauge(self, name: str, value: float) -> None:
        """Set a gauge of `GAUGES`; it exists from its first value on, because unknown is not zero."""
        if name not in self._gauges:
            text, combine = GAUGES[name]
            self._gauges[name] = Gauge(name, text, registry=self._registry, multiprocess_mode=combine)
        self._gauges[name].set(value)

    def oldest_release(self) -> int:
        """Return the lowest version that a worker serves; 0 while one has none."""
        return int(self._combined().get_sample_value("recsim_release") or 0)

    def page(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._combined())

    def _combined(self) -> CollectorRegistry:
        if self._shared is None:
            return self._registry
        combined = CollectorRegistry()
        MultiProcessCollector(combined, str(self._shared))  # type: ignore[no-untyped-call]
        return combined


def delete_gauges_of_dead_workers(shared: Path) -> None:
    """Remove the gauges of workers that have ended; their counters stay."""
    for file in shared.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path("/proc", str(pid)).exists():
            with suppress(FileNotFoundError):  # another starting worker does the same
                mark_process_dead(pid, str(shared))  # type: ignore[no-untyped-call]
