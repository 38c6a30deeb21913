"""The results of jobs: one frozen model per job, with a one-line `summary`.

A job prints its result as JSON on the last line of stdout, a refresh keeps it as `JOB.json` in its workspace,
and the Airflow plugin parses it. This module imports nothing but pydantic, so that all three can use it.
"""

from __future__ import annotations

from recsim_tasks.contracts.base import (
    REGISTERED_MODEL,
    Cursor,
    Failure,
    JobResult,
    Record,
    Verdict,
)
from recsim_tasks.contracts.encoder_results import EmbedResult, TrainResult, TuneResult
from recsim_tasks.contracts.evaluation_results import (
    ConfidenceInterval,
    EvaluateResult,
    Metrics,
    RuleResult,
    SliceMetrics,
)
from recsim_tasks.contracts.index_results import (
    IndexCounts,
    IndexResult,
    IndexVerifyResult,
    RebuildComparison,
)
from recsim_tasks.contracts.ingest_results import (
    Acceptance,
    FeedOnHold,
    FeedResult,
    GuardViolation,
    IngestResult,
    OnHoldRecord,
    QuarantinedRow,
    QuarantineResult,
    RowCounts,
    RowReason,
    StrayEntry,
)
from recsim_tasks.contracts.operations_results import (
    ChampionStatus,
    CheckFinding,
    DoctorResult,
    FeedReleaseResult,
    Lag,
    MaintainResult,
    ProductionPeriod,
    QueryResult,
    ReleasesResult,
    StatusResult,
    TableMaintenance,
)
from recsim_tasks.contracts.plan_results import Decision, Estimate, PlanResult
from recsim_tasks.contracts.release_results import (
    Freeze,
    GateResult,
    PromoteResult,
    RegisterResult,
    ResumeResult,
    RollbackResult,
    VerifyResult,
)

__all__ = [
    "REGISTERED_MODEL",
    "Acceptance",
    "ChampionStatus",
    "CheckFinding",
    "ConfidenceInterval",
    "Cursor",
    "Decision",
    "DoctorResult",
    "EmbedResult",
    "Estimate",
    "EvaluateResult",
    "Failure",
    "FeedOnHold",
    "FeedReleaseResult",
    "FeedResult",
    "Freeze",
    "GateResult",
    "GuardViolation",
    "IndexCounts",
    "IndexResult",
    "IndexVerifyResult",
    "IngestResult",
    "JobResult",
    "Lag",
    "MaintainResult",
    "Metrics",
    "OnHoldRecord",
    "PlanResult",
    "ProductionPeriod",
    "PromoteResult",
    "QuarantineResult",
    "QuarantinedRow",
    "QueryResult",
    "RebuildComparison",
    "Record",
    "RegisterResult",
    "ReleasesResult",
    "ResumeResult",
    "RollbackResult",
    "RowCounts",
    "RowReason",
    "RuleResult",
    "SliceMetrics",
    "StatusResult",
    "StrayEntry",
    "TableMaintenance",
    "TrainResult",
    "TuneResult",
    "Verdict",
    "VerifyResult",
    "result_model",
]


def result_model(job: str) -> type[JobResult] | None:
    """The model of a job's result, by the job's name; None if no job has that name."""
    return next((model for model in JobResult.__subclasses__() if model.job == job), None)
