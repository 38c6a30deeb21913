from __future__ import annotations

from typing import Any

import pytest

from recsim_airflow.results import failure, outcome, parse_result, summary

COUNTS: dict[str, float] = {
    "inserted": 60_000,
    "updated": 0,
    "deleted": 12,
    "unchanged": 3,
    "outdated": 4,
    "quarantined": 2,
}
CLEAN = {**COUNTS, "quarantined": 0}
METRICS = {"precision_at_1": 0.9123, "precision_at_10": 0.88, "map_at_r": 0.6, "ann_recall_at_10": 1.0}


@pytest.mark.parametrize(
    ("job", "result", "sentence"),
    [
        (
            "ingest",
            {"feed_id": "f1", "applied": True, **COUNTS, "table_version": 4},
            "f1: 60,000 inserted, 0 updated, 12 deleted, 3 unchanged, 4 outdated, 2 quarantined (0.0%); catalogue at version 4",
        ),
        (
            "ingest",
            {"feed_id": "f1", "applied": True, **CLEAN, "table_version": 4},
            "f1: 60,000 inserted, 0 updated, 12 deleted, 3 unchanged, 4 outdated, 0 quarantined; catalogue at version 4",
        ),
        (
            "ingest",
            {"feed_id": "f1", "applied": False, **COUNTS, "table_version": 4},
            "f1 was applied before, nothing has changed",
        ),
        ("ingest", {"feed_id": None, "applied": False, **COUNTS, "table_version": 4}, "no feed in the inbox"),
        (
            "plan",
            {"decision": "append", "reasons": ["1,600 products changed.", "Well."]},
            "append: 1,600 products changed. Well.",
        ),
        ("plan", {"decision": "skip", "reasons": [], "estimate": {"images": 0, "minutes": 0.2}}, "skip"),
        (
            "plan",
            {"decision": "append", "reasons": ["Well."], "estimate": {"images": 1200, "minutes": 3.5}},
            "append: Well. (about 3.5 min, 1,200 images to embed)",
        ),
        (
            "plan",
            {"decision": "retrain", "reasons": ["Well."], "estimate": {"images": 9, "minutes": None}},
            "retrain: Well. (9 images to embed)",
        ),
        (
            "tune",
            {"best_params": {}, "trials": 4, "metric": "map_at_r", "best_score": 0.7051},
            "best map_at_r 0.705 of 4 trials",
        ),
        (
            "train",
            {
                "model_fingerprint": "ab" * 32,
                "ranks": 2,
                "metrics": {"precision_at_1": 0.9123},
                "mlflow_run_id": "r",
            },
            "model abababababab by 2 ranks; validation images: precision_at_1 0.912",
        ),
        (
            "train",
            {
                "model_fingerprint": "ab" * 32,
                "ranks": 2,
                "metrics": {"loss": 1.5},
                "quality": {"map_at_r": 0.8},
                "mlflow_run_id": "r",
            },
            "model abababababab by 2 ranks; test images: map_at_r 0.800; validation images: loss 1.500",
        ),
        (
            "tune",
            {
                "best_params": {},
                "trials": 4,
                "metric": "map_at_r",
                "best_score": 0.7,
                "reasons": ["Nothing better was found."],
            },
            "Nothing better was found.",
        ),
        (
            "embed",
            {"embedded": 1200, "reused": 58_800, "of": 60_000},
            "embedded 1,200 of 60,000, reused 58,800",
        ),
        (
            "index",
            {"size": 60_900, "added": 1000, "replaced": 200, "removed": 100, "index_fingerprint": "x"},
            "60,900 products: 1,000 added, 200 replaced, 100 removed",
        ),
        (
            "evaluate",
            {"verdict": "pass", "rules": [{}, {}], "metrics": METRICS},
            "pass: precision@1 0.912, @10 0.880; 2 rules kept.",
        ),
        (
            "evaluate",
            {
                "verdict": "pass",
                "rules": [{}],
                "metrics": METRICS,
                "doubts": ["No category worse: it may be chance."],
            },
            "pass: precision@1 0.912, @10 0.880; 1 rules kept. No category worse: it may be chance.",
        ),
        ("register", {"version": 2, "previous": 1, "stage": "Staging"}, "release 2 registered"),
        (
            "promote",
            {"version": 2, "previous": 1, "stage": "Production"},
            "release 2 is in Production, instead of 1",
        ),
        ("promote", {"version": 1, "previous": None, "stage": "Production"}, "release 1 is in Production"),
        (
            "rollback",
            {"version": 1, "reasons": ["Release 1 is in Production."]},
            "Release 1 is in Production.",
        ),
        (
            "verify",
            {"version": 2, "live": True, "reasons": ["Release 2 answers after 1.2 s."]},
            "Release 2 answers after 1.2 s.",
        ),
        ("maintain", {"files": 3, "table": "products", "list": []}, "files 3, table products"),
        ("embed", {"embedded": 7}, "embedded 7"),
        ("embed", {}, "done"),
    ],
)
def test_a_result_is_told_in_one_line(job: str, result: dict[str, Any], sentence: str) -> None:
    assert summary(job, result) == sentence


@pytest.mark.parametrize(
    ("exit_code", "result", "last_line", "sentence"),
    [
        (
            2,
            {"error": "No manifest in /f. Write it.", "exit_code": 2},
            "noise",
            "No manifest in /f. Write it.",
        ),
        (
            3,
            {"verdict": "hold", "reasons": ["Precision fell.", "Recall fell."]},
            "",
            "Precision fell. Recall fell.",
        ),
        (1, None, "RuntimeError: out of coffee", "RuntimeError: out of coffee"),
        (1, None, "", "recsim tune ended with exit code 1 and said nothing."),
        (-9, None, "Trial 3", "recsim tune was ended by signal 9 (was the machine out of memory?)."),
        (-15, None, "Trial 3", "recsim tune was ended by signal 15."),
    ],
)
def test_a_failure_is_told_in_the_jobs_own_words(
    exit_code: int, result: dict[str, Any] | None, last_line: str, sentence: str
) -> None:
    assert failure("tune", exit_code, result, last_line) == sentence


def test_exit_codes_mean_what_the_contract_says() -> None:
    assert [outcome(code) for code in (0, 1, 2, 3, -9, 137)] == [
        "done",
        "retry",
        "refused",
        "held",
        "retry",
        "retry",
    ]


def test_a_job_that_found_something_away_says_so_in_its_result() -> None:
    away = {"error": "MLflow does not answer.", "error_type": "unavailable", "exit_code": 1}
    assert outcome(1, away) == "away"
    assert outcome(1, {**away, "error_type": "failed"}) == outcome(1, {}) == outcome(1, None) == "retry"
    assert outcome(2, away) == "refused"


def test_only_a_json_object_is_a_result() -> None:
    assert parse_result('{"a": 1}') == {"a": 1}
    assert [parse_result(line) for line in ("", "[1]", "3", "done.", '{"a": ')] == [None] * 5


def test_what_lies_in_the_inbox_and_is_no_feed_is_named() -> None:
    told = summary(
        "ingest", {"feed_id": None, "applied": False, "ignored": [{"name": "a.csv", "reason": "is a file"}]}
    )
    assert told == "no feed in the inbox; no feed, and passed over: a.csv is a file"
