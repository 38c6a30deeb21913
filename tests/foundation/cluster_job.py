"""A `recsim` whose patience with executors is short: `python cluster_job.py SECONDS ARGUMENTS...`."""

from __future__ import annotations

import sys

from recsim_tasks.cli.main import main
from recsim_tasks.foundation import spark_executors

if __name__ == "__main__":
    spark_executors.PATIENCE_SECONDS = float(sys.argv.pop(1))
    main()
