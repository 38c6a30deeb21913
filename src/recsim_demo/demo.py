"""`make demo`: 60,000 products through a real Airflow to a served release, then a day's changes, twice.

Without a terminal it ends by itself. The last line of stdout is a JSON object with the measurements.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from recsim_demo.fashion_mnist import load as load_fashion_mnist
from recsim_demo.feeds import FeedRow, deliver, product_id
from recsim_demo.held_out import QueryResults, run_queries
from recsim_demo.sheet import draw_sheet
from recsim_demo.story import Story, make_story
from recsim_demo.watch import Refresh, follow
from recsim_local.console import echo
from recsim_local.interrupt import run_command, wait_for_interrupt
from recsim_local.ports import usual_ports
from recsim_local.settings_file import restart_command, write_settings_file
from recsim_local.stack import DEMO, Stack, own_locations, running, show_pages
from recsim_tasks.contracts import EmbedResult
from recsim_tasks.foundation.settings import Settings, load_settings

# Fashion-MNIST is grey and 28 pixels wide. All other settings have their defaults.
SETTINGS = {"RECSIM_IMAGE_SIZE": "28", "RECSIM_IMAGE_CHANNELS": "1"}
NEIGHBOURS = f"/v1/products/{product_id(42)}/similar?k=3"


@dataclass(frozen=True)
class Measurements:
    """What the demo prints on its last line."""

    decisions: list[str]
    embedded_full: int
    embedded_append: int
    reused_append: int
    precision_at_1: float
    precision_at_10: float
    phases: dict[str, float]
    """Seconds."""
    release: int
    append_over_retrain: float
    """Ratio of their durations."""


class Demo:
    """One run of the demo, with the duration of each part."""

    def __init__(self, stack: Stack, story: Story) -> None:
        self.stack, self.story = stack, story
        self.refreshes: list[Refresh] = []
        self.phases: dict[str, float] = {}

    def run(self) -> Measurements:
        """Deliver three feeds, then query the release; returns the measurements."""
        first = self._refresh("feed 1", f"{len(self.story.first):,} products", self.story.first, "demo-1")
        second = self._refresh("feed 2", f"{len(self.story.second):,} changes", self.story.second, "demo-2")
        self._refresh("feed 2 again", "the same feed", self.story.second, "demo-2")
        with self._phase("queries"), self.stack.client() as client:
            results = run_queries(client, self.story.held_out, self.story.held_out_categories)
            sheet = draw_sheet(
                client,
                self.story.held_out,
                self.story.held_out_categories,
                results,
                self.stack.home / "retrieval-sheet.png",
            )
        echo(f"Retrieval sheet: {sheet}")
        return self._measurements(first, second, results)

    def _refresh(self, name: str, what: str, rows: list[FeedRow], feed_id: str) -> Refresh:
        echo("")
        echo(f"{name}: {what}")
        deliver(self.stack.inbox, f"{len(self.refreshes) + 1}-{feed_id}", rows, feed_id)
        refresh = follow(self.stack.airflow, len(self.refreshes), delivered_at=time.time())
        echo(f"  {refresh.decision} in {refresh.seconds:.0f} s")
        self.refreshes.append(refresh)
        self.phases[refresh.decision] = refresh.seconds
        self.phases |= {
            f"{refresh.decision}: {task.rpartition('.')[2]}": seconds
            for task, seconds in refresh.phases.items()
        }
        return refresh

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        echo("")
        echo(name)
        began = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - began, 1)

    def _measurements(self, first: Refresh, second: Refresh, results: QueryResults) -> Measurements:
        return Measurements(
            decisions=[refresh.decision for refresh in self.refreshes],
            embedded_full=self._embedded(first).embedded,
            embedded_append=self._embedded(second).embedded,
            reused_append=self._embedded(second).reused,
            precision_at_1=results.precision_at_1,
            precision_at_10=results.precision_at_10,
            phases=self.phases,
            release=results.release,
            append_over_retrain=round(second.seconds / first.seconds, 4),
        )

    def _embedded(self, refresh: Refresh) -> EmbedResult:
        task = f"{refresh.decision}.embed"
        return EmbedResult.model_validate(self.stack.airflow.xcom("recsim_refresh", refresh.run_id, task))


def run() -> None:
    """Run the demo in a folder and tables of its own, which are removed first."""
    settings = load_settings()
    shutil.rmtree(settings.home / DEMO, ignore_errors=True)
    print(json.dumps(asdict(_run_demo(settings))), flush=True)


def _run_demo(settings: Settings) -> Measurements:
    echo("Starting Airflow, MLflow, the HTTP API and the shop ...")
    began = time.monotonic()
    story = make_story(load_fashion_mnist())
    home = settings.home / DEMO
    variables = SETTINGS | own_locations(home)
    write_settings_file(home, variables)
    with running(home, variables, ports=usual_ports(settings)) as stack:
        demo = Demo(stack, story)
        demo.phases["start"] = round(time.monotonic() - began, 1)
        show_pages(stack)
        measurements = demo.run()
        _show(measurements)
        if sys.stdin.isatty():
            show_pages(stack)
            echo(f"Neighbours of a product: {stack.curl(NEIGHBOURS)}")
            wait_for_interrupt(f"All servers run until Ctrl-C. To start them again: {restart_command(home)}")
    return measurements


def _show(measurements: Measurements) -> None:
    table = Table("", "", title="Measurements", show_header=False)
    for name, value in asdict(measurements).items():
        if name != "phases":
            table.add_row(name, str(value))
    phases = Table("phase", "seconds")
    for name, seconds in measurements.phases.items():
        phases.add_row(name, f"{seconds:.1f}")
    Console(stderr=True).print(table, phases)


if __name__ == "__main__":
    sys.exit(run_command("make demo", run))
