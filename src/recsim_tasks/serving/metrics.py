"""What the server counts, for Prometheus: of one process, or summed over the workers that share a folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from recsim_tasks.release.bundle import Release

GAUGES = {
    "recsim_release": (
        "Version of the release that answers; of several workers the lowest, 0 while one has none.",
        "livemin",
    ),
    "recsim_release_catalogue_version": ("Version of the catalogue that it reflects.", "livemin"),
    "recsim_release_catalogue_timestamp_seconds": (
        "When that version was committed: its age is `time()` less this.",
        "livemin",
    ),
    "recsim_release_products": ("Products that it holds.", "livemin"),
    "recsim_swap_problem": ("1 while the champion is not what serves; /health/ready says why.", "livemax"),
    "recsim_registry_up": ("1 when the registry answered the last time.", "livemin"),
}
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """All measures of one app; a registry of its own, so that several apps in a process do not add up."""

    def __init__(self, shared: Path | None = None) -> None:
        registry = self._registry = CollectorRegistry()
        self._shared = shared
        self.requests = Counter(
            "recsim_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "recsim_request_seconds", "Time to answer.", ["route"], buckets=BUCKETS, registry=registry
        )
        self.in_flight = Gauge(
            "recsim_requests_in_flight",
            "Requests that are being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._told: dict[str, Gauge] = {}
        self.refused = Counter(
            "recsim_overload", "Requests turned away because too many were being answered.", registry=registry
        )
        self.swaps = Counter(
            "recsim_swaps", "Releases that were taken (done) or refused.", ["outcome"], registry=registry
        )

    def serves(self, version: int, release: Release) -> None:
        """Note which release answers from now on."""
        manifest = release.manifest
        self.tell("recsim_release", version)
        self.tell("recsim_release_catalogue_version", manifest.cursor.version)
        self.tell("recsim_release_catalogue_timestamp_seconds", manifest.catalogue_at)
        self.tell("recsim_release_products", len(release.index))

    def tell(self, name: str, value: float) -> None:
        """Set a gauge of `GAUGES`; there is none before its first look, for a worker that has just started knows nothing, which is not zero."""
        if name not in self._told:
            text, over_workers = GAUGES[name]
            self._told[name] = Gauge(name, text, registry=self._registry, multiprocess_mode=over_workers)  # type: ignore[arg-type]  # one of the library's names
        self._told[name].set(value)

    def oldest_release(self) -> int:
        """The lowest version that any worker answers from; 0 while one has none."""
        return int(self._all().get_sample_value("recsim_release") or 0)

    def page(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._all())

    def _all(self) -> CollectorRegistry:
        if self._shared is None:
            return self._registry
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._shared))  # type: ignore[no-untyped-call]
        return together


def forget_dead(shared: Path) -> None:
    """Take out what workers told that are no more; what they counted stays."""
    for file in shared.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path("/proc", str(pid)).exists():
            with suppress(FileNotFoundError):  # another worker that starts does the same
                mark_process_dead(pid, str(shared))  # type: ignore[no-untyped-call]
