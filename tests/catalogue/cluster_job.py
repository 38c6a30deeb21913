"""A `recsim` whose patience with executors is short: `python cluster_job.py SECONDS ARGUMENTS...`."""

from __future__ import annotations

import sys

from recsim_tasks.catalogue import executors
from recsim_tasks.cli import main

if __name__ == "__main__":
    executors.PATIENCE_SECONDS = float(sys.argv.pop(1))
    main()
