"""`make up`: runs all servers on the existing state, until Ctrl-C."""

from __future__ import annotations

import sys
from pathlib import Path

from recsim_local.console import echo
from recsim_local.interrupt import run_command, wait_for_interrupt
from recsim_local.ports import usual_ports
from recsim_local.settings_file import has_settings_file, restart_command
from recsim_local.stack import DEMO, running, show_pages
from recsim_tasks.foundation.settings import Settings, load_settings


def demo_hint(settings: Settings) -> str | None:
    """How to see what `make demo` has built, for a person who has no catalogue yet."""
    demo = settings.home / DEMO
    if "://" in settings.products_uri or Path(settings.products_uri).exists() or not has_settings_file(demo):
        return None
    return f"This catalogue is empty. To start the servers on the demo's: {restart_command(demo)}"


def run() -> None:
    """Run all servers on `RECSIM_HOME`, until Ctrl-C."""
    settings = load_settings()
    with running(settings.home, {}, ports=usual_ports(settings)) as stack:
        show_pages(stack)
        echo(f"  inbox        {settings.inbox_dir}")
        if hint := demo_hint(settings):
            echo(hint)
        wait_for_interrupt("All servers run until Ctrl-C. Drop a feed into the inbox to start a refresh.")


if __name__ == "__main__":
    sys.exit(run_command("make up", run))
