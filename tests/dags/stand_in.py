"""A `recsim` for tests of the DAG alone: it answers as the contract says, and does as the file `orders.json` of its home bids.

Orders by job: `exit_code`, `result` (fields over the usual ones), `sleep` (seconds).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

RESULTS: dict[str, dict[str, Any]] = {
    "ingest": {
        "feed_id": "feed-1",
        "applied": True,
        "inserted": 3,
        "updated": 0,
        "deleted": 0,
        "unchanged": 0,
        "quarantined": 0,
        "table_version": 0,
    },
    "plan": {"decision": "append", "reasons": ["3 products changed."]},
    "tune": {"best_params": {}, "trials": 4, "metric": "map_at_r", "best_score": 0.7},
    "train": {"model_fingerprint": "a" * 64, "ranks": 2, "metrics": {}, "mlflow_run_id": "run"},
    "embed": {"embedded": 3, "reused": 0, "of": 3},
    "index": {"size": 3, "added": 3, "replaced": 0, "removed": 0, "index_fingerprint": "b" * 64},
    "evaluate": {"verdict": "pass", "reasons": [], "metrics": {"precision_at_1": 0.9, "precision_at_10": 0.8}},
    "register": {"version": 7, "previous": 6, "stage": "Staging"},
    "promote": {"version": 7, "previous": 6, "stage": "Production"},
    "verify": {"version": 7, "live": True, "reasons": []},
}


def main() -> int:
    """Do one job."""
    home, job = Path(os.environ["RECSIM_HOME"]), sys.argv[1]
    with (home / "commands.log").open("a") as log:
        log.write(" ".join(sys.argv[1 : sys.argv.index("--refresh")]) + f" as {os.getpid()}\n")
    orders = json.loads((home / "orders.json").read_text()).get(job, {})
    print(f"{job} works", file=sys.stderr, flush=True)
    time.sleep(orders.get("sleep", 0))
    if job == "ingest":
        _empty(home / "inbox")
    print(json.dumps(RESULTS[job] | orders.get("result", {})))
    return int(orders.get("exit_code", 0))


def _empty(inbox: Path) -> None:
    for feed in inbox.glob("[!.]*"):
        (inbox / ".applied").mkdir(exist_ok=True)
        shutil.move(feed, inbox / ".applied" / f"{time.time_ns()}-{feed.name}")


if __name__ == "__main__":
    sys.exit(main())
