"""Fetches once what jobs and the demo need from the network: Delta's jars and Fashion-MNIST."""

from __future__ import annotations

import sys

from recsim_demo import fashion_mnist
from recsim_local.console import echo
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import load_settings
from recsim_tasks.foundation.spark import delta_jars, fetch_delta_jars


def main() -> int:
    """Fetch what is missing; the exit code is 0, or an error's."""
    try:
        settings = load_settings()
        if not delta_jars():
            echo("Fetching Delta's jars (90 MB) through Spark's Ivy")
            fetch_delta_jars(settings)
        fashion_mnist.load()
    except RecsimError as error:
        echo(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
