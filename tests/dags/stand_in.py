"""A `recsim` for tests of the DAG alone: every job takes a moment, on a real Delta table and a real inbox.

Its catalogue has one row per feed. `plan` compares the champion's cursor with the table's head, `promote`
moves it. A feed whose manifest has `hold` is put on hold. `overrides.json` in its home overrides a job:
`exit_code`, `result` (fields that replace its own), `log` (lines on stderr), `sleep` (seconds).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from deltalake import CommitProperties, DeltaTable, write_deltalake

from recsim_tasks.catalogue.feeds.feed_manifest import MANIFEST
from recsim_tasks.catalogue.feeds.listing import closed_feeds
from recsim_tasks.catalogue.feeds.transfer import APPLIED, REFUSED, RefusalNote, move_aside
from recsim_tasks.contracts import (
    ConfidenceInterval,
    Cursor,
    EmbedResult,
    Estimate,
    EvaluateResult,
    Failure,
    FeedOnHold,
    Freeze,
    GateResult,
    GuardViolation,
    IndexResult,
    IngestResult,
    JobResult,
    Metrics,
    PlanResult,
    PromoteResult,
    RebuildComparison,
    RegisterResult,
    ResumeResult,
    RollbackResult,
    RowReason,
    RuleResult,
    TrainResult,
    TuneResult,
    VerifyResult,
)
from recsim_tasks.foundation.errors import BlockedError, FrozenError, OnHoldError, RejectedError

Result = TypeVar("Result", bound=JobResult)

HOME = Path(os.environ["RECSIM_HOME"])
TABLE = str(HOME / "tables" / "products")
RULE = RuleResult(
    rule="Precision@1 no worse than the champion",
    passed=True,
    challenger=0.8,
    champion=0.79,
    difference=ConfidenceInterval(mean=0.01, low=0.002, high=0.018),
    limit="at most 0.02 lower",
    sentence="Precision@1 is 0.8, the champion's 0.79.",
)
METRICS = Metrics(
    precision_at_1=0.9,
    precision_at_10=0.9,
    map_at_r=0.9,
    r_precision=0.9,
    ann_recall_at_10=1.0,
    built_recall=1.0,
    imbalance_growth=1.0,
    query_cpu_p95_ms=0.5,
    coverage=1.0,
)
REBUILD = RebuildComparison(
    size=0,
    missing=0,
    unexpected=0,
    outdated=0,
    compared=0,
    differing=0,
    overlap=1.0,
    rebuilt_overlap=1.0,
)
FIGURES = [
    GuardViolation(
        guard="max_withdrawn_share",
        value=0.8534,
        limit=0.5,
        sentence="The feed would withdraw 51,204 of 60,000 products (85%); RECSIM_MAX_WITHDRAWN_SHARE allows "
        "50%.",
    ),
    GuardViolation(
        guard="max_category_shift",
        value=0.41,
        limit=0.3,
        sentence="The feed would move 41% of the catalogue between categories, most of all 'Bag' from 10% to "
        "51%; RECSIM_MAX_CATEGORY_SHIFT allows 30%.",
    ),
]
ROW_REASON = RowReason(
    reason="price … is not a number",
    rows=1_250,
    example="p1: price '15.00 USD' is not a number",
)
STATIC: dict[str, JobResult] = {
    result.job: result
    for result in (
        TuneResult(
            best_params={},
            trials=4,
            failed=0,
            pruned=0,
            metric="map_at_r",
            best_score=0.7,
            champion_score=None,
            reasons=[],
        ),
        TrainResult(
            model_fingerprint="a" * 64,
            ranks=2,
            metrics={},
            quality={},
            mlflow_run_id="run",
            trained_at=1.0,
        ),
        EmbedResult(embedded=3, reused=0, of=3, unembeddable=0),
        IndexResult(size=3, added=3, replaced=0, removed=0, index_fingerprint="b" * 64),
        EvaluateResult(
            verdict="passed",
            reasons=[],
            doubts=[],
            mended_by_rebuild=False,
            decision="append",
            index_fingerprint="0" * 64,
            rules=[RULE],
            metrics=METRICS,
            slices={},
            since_training={},
            since_champion={},
            rebuild=REBUILD,
            champion=None,
        ),
        VerifyResult(version=7, live=True, waited_seconds=0.5, reasons=["Release 7 answers."]),
    )
}


def main() -> int:
    """Do one job."""
    job, end = sys.argv[1], sys.argv.index("--refresh")
    with (HOME / "commands.log").open("a") as log:
        log.write(" ".join(sys.argv[1:end]) + f" as {os.getpid()}\n")
    override = json.loads((HOME / "overrides.json").read_text()).get(job, {})
    for line in override.get("log", [f"INFO recsim_tasks.stand_in: {job} works"]):
        print(line, file=sys.stderr, flush=True)
    time.sleep(override.get("sleep", 0))
    workspace = HOME / "refreshes" / sys.argv[end + 1]
    workspace.mkdir(parents=True, exist_ok=True)
    code = override.get("exit_code", 0)
    try:
        result = (JOBS[job](workspace) if job in JOBS else STATIC[job]).model_dump(mode="json")
        result |= override.get("result", {})
        (workspace / f"{job}.json").write_text(json.dumps(result))
    except BlockedError as error:
        code = error.exit_code
        failure = Failure(error=str(error), error_type=error.error_type, exit_code=code)
        result = error.result | failure.model_dump()
    print(json.dumps(result | ({"exit_code": code} if code else {})))
    return int(code)


def ingest(workspace: Path) -> IngestResult:
    """Apply the feeds of the inbox in order of arrival, each once, up to one that is put on hold."""
    applied: list[str] = []
    for folder in closed_feeds(HOME / "inbox"):
        manifest = json.loads((folder / MANIFEST).read_text())
        feed_id, digest = manifest["feed_id"], hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        if manifest.get("hold") and option("--accept") != digest:
            if option("--refuse") != digest:
                raise put_on_hold(
                    ingested(applied),
                    FeedOnHold(
                        feed_id=feed_id,
                        digest=digest,
                        folder=str(folder),
                        figures=FIGURES,
                        row_reasons=[ROW_REASON],
                    ),
                )
            move_aside(folder, REFUSED, RefusalNote(by=option("--by")))
            continue
        commit({"feed_id": feed_id, "refresh": workspace.name, "accepted": option("--by")})
        move_aside(folder, APPLIED)
        applied.append(feed_id)
    return ingested(applied)


def commit(metadata: dict[str, Any]) -> None:
    """Add one row, as a feed would, with the metadata of its commit."""
    import pyarrow as pa

    properties = CommitProperties(custom_metadata={"userMetadata": json.dumps(metadata)})
    row = pa.table({"id": [metadata["feed_id"]]})
    write_deltalake(TABLE, row, mode="append", commit_properties=properties)


def ingested(applied: list[str]) -> IngestResult:
    """The result of an ingest."""
    return IngestResult(
        feed_id=", ".join(applied) or None,
        applied=bool(applied),
        inserted=len(applied),
        table_version=DeltaTable(TABLE).version(),
    )


def put_on_hold(applied: IngestResult, feed: FeedOnHold) -> OnHoldError:
    """The error of an ingest that puts a feed on hold."""
    reasons = [figure.sentence for figure in feed.figures]
    result = applied.model_copy(update={"on_hold": feed, "reasons": reasons})
    return OnHoldError(f"Feed {feed.feed_id} needs a review. {reasons[0]}", result)


def plan(workspace: Path) -> PlanResult:
    """Skip when the champion's cursor is the head, else append."""
    table = DeltaTable(TABLE)
    head = Cursor(str(table.metadata().id), table.version())
    cursor = Cursor.from_json(champion()["cursor"]) if "cursor" in champion() else None
    same = cursor == head
    return PlanResult(
        refresh_id=workspace.name,
        decision="skip" if same else "append",
        reasons=["No product changed." if same else "3 products changed."],
        warm_start=False,
        cursor=cursor,
        head=head,
        changes={},
        champion=champion().get("version"),
        champion_unreadable=None,
        estimate=Estimate(images=0 if same else 3, minutes=None),
    )


def register(workspace: Path) -> RegisterResult:
    """The next version, and always the same one for a refresh."""
    releases = HOME / "releases.json"
    known = json.loads(releases.read_text()) if releases.exists() else []
    if workspace.name not in known:
        known.append(workspace.name)
        releases.write_text(json.dumps(known))
    version = known.index(workspace.name) + 1
    (workspace / "asks").write_text(json.dumps("--ask" in sys.argv))
    return RegisterResult(
        version=version,
        previous=version - 1 or None,
        stage="Staging",
        verdict=kept(workspace, EvaluateResult).verdict,
        mlflow_page=f"models/recsim/versions/{version}",
    )


def gate(workspace: Path) -> GateResult:
    """Reject the registered release if its verdict says so."""
    release, reasons = kept(workspace, RegisterResult), kept(workspace, EvaluateResult).reasons
    result = GateResult(
        version=release.version,
        verdict=release.verdict,
        reasons=reasons,
        mlflow_page=release.mlflow_page,
    )
    if release.verdict == "rejected":
        raise RejectedError(" ".join(reasons), result)
    return result


def promote(workspace: Path) -> PromoteResult:
    """Make the release the champion, unless promotions are frozen, or it is rejected or not approved yet."""
    release = kept(workspace, RegisterResult)
    answered = any(argument.startswith("--answered-at=") for argument in sys.argv)
    if "--reject" in sys.argv or (json.loads((workspace / "asks").read_text()) and not answered):
        why = f"{option('--by')} rejected it" if "--reject" in sys.argv else "it needs an approval"
        raise RejectedError(f"Release {release.version} stays in Staging: {why}.")
    if champion().get("frozen"):
        raise FrozenError(f"Release {release.version} stays in Staging.")
    write_champion({"version": release.version, "cursor": kept(workspace, PlanResult).head.as_json()})
    return PromoteResult(version=release.version, previous=release.previous, stage="Production")


def rollback(_: Path) -> RollbackResult:
    """Go back one release, and freeze promotions."""
    left = champion()["version"]
    write_champion({**champion(), "version": left - 1, "frozen": True})
    return RollbackResult(
        version=left - 1,
        previous=left,
        stage="Production",
        frozen=Freeze(by="ada", through="airflow", at=1.0, reason="stripes", release=left, to=left - 1),
        reasons=[f"Release {left - 1} is in Production."],
    )


def resume(_: Path) -> ResumeResult:
    """Let refreshes promote again."""
    write_champion({**champion(), "frozen": False})
    return ResumeResult(version=champion()["version"], reasons=["Promotions are resumed."])


def kept(workspace: Path, model: type[Result]) -> Result:
    """The result of an earlier step."""
    return model.model_validate_json((workspace / f"{model.job}.json").read_text())


def champion() -> dict[str, Any]:
    """The release in Production; empty before the first."""
    path = HOME / "champion.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write_champion(release: dict[str, Any]) -> None:
    """Put a release into Production."""
    (HOME / "champion.json").write_text(json.dumps(release))


def option(name: str) -> str | None:
    """The value of an option of the command line."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


JOBS: dict[str, Callable[[Path], JobResult]] = {
    "ingest": ingest,
    "plan": plan,
    "register": register,
    "gate": gate,
    "promote": promote,
    "rollback": rollback,
    "resume": resume,
}

if __name__ == "__main__":
    sys.exit(main())
