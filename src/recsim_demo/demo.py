"""`make demo`: 60,000 real product images through a real Airflow to a served release, then a day's changes, then nothing new.

Without a terminal it ends by itself; the last line of stdout is one JSON object with what was measured.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from recsim_demo.dataset import fashion_mnist
from recsim_demo.feeds import deliver
from recsim_demo.queries import Answers, ask
from recsim_demo.sheet import draw
from recsim_demo.story import Story, tell
from recsim_demo.watch import Refresh, follow
from recsim_local.console import say
from recsim_local.interrupt import leave_in_order_on_term, until_interrupted
from recsim_local.stack import Stack, running, show_pages
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.settings import load_settings

# Fashion-MNIST is grey and 28 pixels wide; what else the jobs do is the product's own default.
SETTINGS = {"RECSIM_IMAGE_SIZE": "28", "RECSIM_IMAGE_CHANNELS": "1"}


class Demo:
    """One run of the demo, and how long each part took."""

    def __init__(self, stack: Stack, story: Story) -> None:
        self.stack, self.story = stack, story
        self.refreshes: list[Refresh] = []
        self.phases: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Three feeds, then questions; the figures of the last line."""
        first = self._refresh("feed 1", f"{len(self.story.first):,} products", self.story.first, "demo-1")
        second = self._refresh("feed 2", f"{len(self.story.second):,} changes", self.story.second, "demo-2")
        self._refresh("feed 2 again", "the very same feed", self.story.second, "demo-2")
        with self._phase("questions"), self.stack.client() as client:
            answers = ask(client, self.story.held_out, self.story.held_out_categories)
            sheet = draw(
                client,
                self.story.held_out,
                self.story.held_out_categories,
                answers,
                self.stack.home / "retrieval-sheet.png",
            )
        say(f"Retrieval sheet: {sheet}")
        return self._figures(first, second, answers)

    def _refresh(self, name: str, what: str, rows: list[dict[str, Any]], feed_id: str) -> Refresh:
        say("")
        say(f"{name}: {what}")
        deliver(self.stack.inbox, f"{len(self.refreshes) + 1}-{feed_id}", rows, feed_id)
        refresh = follow(self.stack.airflow, len(self.refreshes), landed_at=time.time())
        say(f"  {refresh.decision} in {refresh.seconds:.0f} s")
        self.refreshes.append(refresh)
        self.phases[refresh.decision] = refresh.seconds
        self.phases |= {
            f"{refresh.decision}: {task.rpartition('.')[2]}": seconds
            for task, seconds in refresh.phases.items()
        }
        return refresh

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        say("")
        say(name)
        began = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - began, 1)

    def _figures(self, first: Refresh, second: Refresh, answers: Answers) -> dict[str, Any]:
        return {
            "decisions": [refresh.decision for refresh in self.refreshes],
            "embedded_full": self._embedded(first)["embedded"],
            "embedded_append": self._embedded(second)["embedded"],
            "reused_append": self._embedded(second)["reused"],
            "precision_at_1": answers.precision_at_1,
            "precision_at_10": answers.precision_at_10,
            "phases": self.phases,
            "release": answers.release,
            "append_over_retrain": round(second.seconds / first.seconds, 4),
        }

    def _embedded(self, refresh: Refresh) -> dict[str, int]:
        return dict(self.stack.airflow.xcom("recsim_refresh", refresh.run_id, f"{refresh.decision}.embed"))


def main() -> int:
    """Run the demo in a folder of its own, which it empties first."""
    leave_in_order_on_term()
    die_with(os.getppid())  # `make` may be killed without a chance to tell
    try:
        home = load_settings().home / "demo"
        shutil.rmtree(home, ignore_errors=True)
        figures = _demonstrate(home)
    except RecsimError as error:
        say(f"make demo: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
    print(json.dumps(figures), flush=True)
    return 0


def _demonstrate(home: Path) -> dict[str, Any]:
    say("Starting Airflow, MLflow, the HTTP API and the shop window ...")
    began = time.monotonic()
    story = tell(fashion_mnist())
    with running(home, SETTINGS) as stack:
        demo = Demo(stack, story)
        demo.phases["start"] = round(time.monotonic() - began, 1)
        show_pages(stack)
        figures = demo.run()
        _show(figures)
        if sys.stdin.isatty():
            show_pages(stack)
            until_interrupted("Everything stays up until Ctrl-C.")
    return figures


def _show(figures: dict[str, Any]) -> None:
    table = Table("", "", title="What was measured", show_header=False)
    for name, value in figures.items():
        if name != "phases":
            table.add_row(name, str(value))
    phases = Table("phase", "seconds")
    for name, seconds in figures["phases"].items():
        phases.add_row(name, f"{seconds:.1f}")
    Console(stderr=True).print(table, phases)


if __name__ == "__main__":
    sys.exit(main())
