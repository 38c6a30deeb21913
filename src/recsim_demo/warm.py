"""Fetch, once, what jobs and the demo would need the network for: Delta's jars and Fashion-MNIST."""

from __future__ import annotations

import sys

from recsim_demo import dataset
from recsim_local.console import say
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import load_settings
from recsim_tasks.foundation.spark import delta_jars, fetch_delta_jars


def main() -> int:
    """Fetch what is missing; the exit code is a job's: 0, or 2 with a sentence."""
    try:
        settings = load_settings()
        if not delta_jars():
            say("Fetching Delta's jars (90 MB) through Spark's Ivy")
            fetch_delta_jars(settings)
        dataset.fashion_mnist()
    except RecsimError as error:
        say(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
