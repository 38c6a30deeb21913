from __future__ import annotations

from recsim_tasks.contracts import EvaluateResult, Metrics, RebuildComparison, RuleResult

METRICS = Metrics(
    precision_at_1=0.91,
    precision_at_10=0.9,
    map_at_r=0.7,
    r_precision=0.8,
    ann_recall_at_10=0.99,
    built_recall=0.99,
    imbalance_growth=1.0,
    query_cpu_p95_ms=0.3,
    coverage=None,
)
REBUILD = RebuildComparison(
    size=1, missing=0, unexpected=0, outdated=0, compared=1, differing=0, overlap=1.0, rebuilt_overlap=1.0
)


def result(*rules: RuleResult, doubts: list[str]) -> EvaluateResult:
    passed = all(rule.passed for rule in rules)
    return EvaluateResult(
        verdict="passed" if passed else "rejected",
        reasons=[],
        doubts=doubts,
        mended_by_rebuild=False,
        rules=list(rules),
        metrics=METRICS,
        slices={},
        since_training={},
        since_champion={},
        rebuild=REBUILD,
        champion=None,
        decision="append",
        index_fingerprint="0" * 64,
    )


def rule(name: str, *, passed: bool) -> RuleResult:
    return RuleResult(rule=name, passed=passed, challenger=0.9, limit="0.95", sentence="So it is.")


def test_the_summary_names_the_broken_rules() -> None:
    evaluated = result(rule("Index recall", passed=False), rule("Query time", passed=True), doubts=[])
    assert evaluated.summary == "rejected: precision@1 0.910, @10 0.900; broken: Index recall."


def test_the_summary_of_a_good_release_ends_with_its_doubts() -> None:
    evaluated = result(rule("Index recall", passed=True), doubts=["Coats may be worse."])
    assert evaluated.summary == (
        "passed: precision@1 0.910, @10 0.900; all 1 rules passed. Coats may be worse."
    )


def test_metrics_that_were_not_measured_are_left_out() -> None:
    assert "coverage" not in METRICS.measured
    assert METRICS.measured["precision_at_1"] == 0.91
