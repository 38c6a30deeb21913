"""A `recsim` for tests of the DAG alone: a shop so small that every job takes a moment, on a real Delta table and a real inbox.

Its catalogue has one row a feed. `plan` compares the champion's cursor with the table's head, `promote` moves it. A feed whose manifest
says `hold` is held by a guard. The file `orders.json` of its home bids more, by job: `exit_code`, `result` (fields over the usual ones),
`sleep` (seconds).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from deltalake import CommitProperties, DeltaTable, write_deltalake

from recsim_tasks.catalogue.feeds.listing import closed_feeds
from recsim_tasks.catalogue.feeds.manifest import MANIFEST
from recsim_tasks.catalogue.feeds.transfer import APPLIED, REFUSED, move_aside

HOME = Path(os.environ["RECSIM_HOME"])
TABLE = str(HOME / "tables" / "products")
RULE = {
    "rule": "Precision@1 no worse than the champion",
    "challenger": 0.8,
    "champion": 0.79,
    "difference": {"mean": 0.01, "low": 0.002, "high": 0.018},
    "limit": "at most 0.02 lower",
}
STATIC: dict[str, dict[str, Any]] = {
    "tune": {"best_params": {}, "trials": 4, "metric": "map_at_r", "best_score": 0.7},
    "train": {"model_fingerprint": "a" * 64, "ranks": 2, "metrics": {}, "mlflow_run_id": "run"},
    "embed": {"embedded": 3, "reused": 0, "of": 3},
    "index": {"size": 3, "added": 3, "replaced": 0, "removed": 0, "index_fingerprint": "b" * 64},
    "evaluate": {
        "verdict": "pass",
        "reasons": [],
        "metrics": {"precision_at_1": 0.9, "precision_at_10": 0.8},
        "rules": [RULE],
    },
    "verify": {"version": 7, "live": True, "reasons": []},
}


def main() -> int:
    """Do one job."""
    job, end = sys.argv[1], sys.argv.index("--refresh")
    with (HOME / "commands.log").open("a") as log:
        log.write(" ".join(sys.argv[1:end]) + f" as {os.getpid()}\n")
    orders = json.loads((HOME / "orders.json").read_text()).get(job, {})
    print(f"{job} works", file=sys.stderr, flush=True)
    time.sleep(orders.get("sleep", 0))
    workspace = HOME / "refreshes" / sys.argv[end + 1]
    workspace.mkdir(parents=True, exist_ok=True)
    result = JOBS[job](workspace) if job in JOBS else STATIC[job]
    result = result | orders.get("result", {})
    (workspace / f"{job}.json").write_text(json.dumps(result))
    print(json.dumps(result))
    return int(orders.get("exit_code", result.get("exit_code", 0)))


def ingest(workspace: Path) -> dict[str, Any]:
    """Take the feeds of the inbox in order of arrival, each once, up to one that is held."""
    taken: list[str] = []
    for folder in closed_feeds(HOME / "inbox"):
        manifest = json.loads((folder / MANIFEST).read_text())
        feed_id, digest = manifest["feed_id"], hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        if manifest.get("hold") and option("--accept") != digest:
            if option("--refuse") != digest:
                return ingested(taken) | held(feed_id, digest, folder)
            move_aside(folder, REFUSED, {"by": option("--by")})
            continue
        commit({"feed_id": feed_id, "refresh": workspace.name, "accepted": option("--by")})
        move_aside(folder, APPLIED)
        taken.append(feed_id)
    return ingested(taken)


def commit(told: dict[str, Any]) -> None:
    """One row, as a feed would bring it, with what the commit says of itself."""
    import pyarrow as pa

    properties = CommitProperties(custom_metadata={"userMetadata": json.dumps(told)})
    write_deltalake(TABLE, pa.table({"id": [told["feed_id"]]}), mode="append", commit_properties=properties)


def ingested(taken: list[str]) -> dict[str, Any]:
    """The result of an ingest."""
    counts = dict.fromkeys(("updated", "deleted", "unchanged", "outdated", "quarantined"), 0)
    whole = {"feed_id": ", ".join(taken) or None, "applied": bool(taken), "inserted": len(taken), **counts}
    return whole | {"table_version": DeltaTable(TABLE).version()}


def held(feed_id: str, digest: str, folder: Path) -> dict[str, Any]:
    """What is added when a guard holds a feed."""
    sentence = (
        "The feed would withdraw 51,204 of 60,000 products (85%); RECSIM_MAX_WITHDRAWN_SHARE allows 50%."
    )
    figure = {"guard": "max_withdrawn_share", "value": 0.8534, "limit": 0.5, "sentence": sentence}
    shift = "The feed would move 41% of the catalogue between categories, most of all 'Bag' from 10% to 51%; RECSIM_MAX_CATEGORY_SHIFT allows 30%."
    other = {"guard": "max_category_shift", "value": 0.41, "limit": 0.3, "sentence": shift}
    told = {"feed_id": feed_id, "digest": digest, "folder": str(folder), "figures": [figure, other]}
    return {
        "on_hold": told,
        "reasons": [sentence, shift],
        "error": f"Feed {feed_id} waits. {sentence}",
        "exit_code": 3,
    }


def plan(workspace: Path) -> dict[str, Any]:
    """Skip when the champion's cursor is the head, else append."""
    table = DeltaTable(TABLE)
    head = {"table_id": str(table.metadata().id), "version": table.version()}
    same = champion().get("cursor") == head
    decision = (
        {"decision": "skip", "reasons": ["No product changed."]}
        if same
        else {"decision": "append", "reasons": ["3 products changed."]}
    )
    return decision | {
        "head": head,
        "cursor": champion().get("cursor"),
        "estimate": {"images": 0 if same else 3, "minutes": None},
    }


def register(workspace: Path) -> dict[str, Any]:
    """The next version, the same one for the same refresh."""
    releases = HOME / "releases.json"
    known = json.loads(releases.read_text()) if releases.exists() else []
    if workspace.name not in known:
        known.append(workspace.name)
        releases.write_text(json.dumps(known))
    version = known.index(workspace.name) + 1
    return {
        "version": version,
        "previous": version - 1 or None,
        "stage": "Staging",
        "asks": "--ask" in sys.argv,
    }


def promote(workspace: Path) -> dict[str, Any]:
    """Make the release the champion, with the cursor that was planned for; not one that was rejected, or is still to be approved."""
    told = json.loads((workspace / "register.json").read_text()) | {"stage": "Production"}
    answered = any(argument.startswith("--answered-at=") for argument in sys.argv)
    if "--reject" in sys.argv or (told["asks"] and not answered):
        why = f"{option('--by')} rejected it" if "--reject" in sys.argv else "it waits for an approval"
        return {"error": f"Release {told['version']} stays in Staging: {why}.", "exit_code": 3}
    cursor = json.loads((workspace / "plan.json").read_text())["head"]
    (HOME / "champion.json").write_text(json.dumps({"version": told["version"], "cursor": cursor}))
    return told


def rollback(_: Path) -> dict[str, Any]:
    """Go back one release, or let refreshes promote again."""
    now = champion()
    if "--resume" not in sys.argv:
        now["version"] -= 1
        (HOME / "champion.json").write_text(json.dumps(now))
    return {"version": now["version"], "reasons": [f"Release {now['version']} is in Production."]}


def champion() -> dict[str, Any]:
    """The release that serves; empty before the first."""
    path = HOME / "champion.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def option(name: str) -> str | None:
    """What the command line gives for an option."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


JOBS = {"ingest": ingest, "plan": plan, "register": register, "promote": promote, "rollback": rollback}

if __name__ == "__main__":
    sys.exit(main())
