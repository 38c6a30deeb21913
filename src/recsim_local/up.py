"""`make up`: runs all servers on the existing state, until Ctrl-C."""

from __future__ import annotations

import os
import sys

from recsim_local.console import echo
from recsim_local.interrupt import exit_on_signals, wait_for_interrupt
from recsim_local.stack import running, show_pages
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.settings import load_settings


def main() -> int:
    """Run all servers on `RECSIM_HOME`."""
    exit_on_signals()
    die_with(os.getppid())  # `make` may be killed without passing on the signal
    try:
        settings = load_settings()
        with running(settings.home, {}) as stack:
            show_pages(stack)
            echo(f"  inbox        {settings.inbox_dir}")
            wait_for_interrupt("All servers run until Ctrl-C. Drop a feed into the inbox to start a refresh.")
    except RecsimError as error:
        echo(f"make up: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
