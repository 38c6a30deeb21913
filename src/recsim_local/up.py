"""`make up`: everything running on the state that is there, until Ctrl-C."""

from __future__ import annotations

import os
import sys

from recsim_local.console import say
from recsim_local.interrupt import leave_in_order_on_term, until_interrupted
from recsim_local.stack import running, show_pages
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.settings import load_settings


def main() -> int:
    """Run all servers over `RECSIM_HOME`."""
    leave_in_order_on_term()
    die_with(os.getppid())  # `make` may be killed without a chance to tell
    try:
        with running(load_settings().home, {}) as stack:
            show_pages(stack)
            say(f"  inbox        {stack.inbox}")
            until_interrupted("Everything runs until Ctrl-C. Drop a feed into the inbox to start a refresh.")
    except RecsimError as error:
        say(f"make up: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
