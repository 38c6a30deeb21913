from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsim_tasks.contracts import ConfidenceInterval
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.evaluation.measure import Comparison, Evaluation
from recsim_tasks.release.evaluation.queries import QUERY_METRICS, QueryResults
from recsim_tasks.release.evaluation.speed import QueryTimes
from recsim_tasks.release.gate.comparison_rules import COMPARED_METRICS
from recsim_tasks.release.gate.judge import Evidence, Judgement, judge
from recsim_tasks.vectors.consistency import Verification
from release.bundles import METRICS

SETTINGS = Settings.model_construct()
QUERIES = 1_000
BAGS = np.arange(QUERIES) % 10 < 6
LABELS = np.where(BAGS, "bags", "shoes").astype(object)
TRAINED_ON = frozenset({"bags", "shoes"})
LIKE_A_REBUILD = Verification(
    size=10, missing=0, unexpected=0, outdated=0, compared=10, differing=0, overlap=0.99, rebuilt_overlap=1.0
)


def results_of(share: float = 0.9, **wrong: float) -> QueryResults:
    """Every metric is 1 for this share of the queries, spread over the categories, and 0 for the others.

    The metrics in `wrong` have another share.
    """
    shares = dict.fromkeys(QUERY_METRICS, share) | wrong
    hits = {
        name: (np.arange(QUERIES) // 10 * 7 % 100 >= round(100 * (1 - of))).astype(float)
        for name, of in shares.items()
    }
    return QueryResults(np.arange(QUERIES).astype(object), LABELS, np.zeros((QUERIES, 10), object), hits)


EVALUATION = Evaluation(results_of(), METRICS, QueryTimes(1.0, 1.0, "champion"), None, None)
COMPARISON = Comparison(results_of(), results_of(), churn=0.1, lists_changed=0.3, same_model=True)


def measured(**changes: float | None) -> Evaluation:
    return replace(EVALUATION, metrics=METRICS.model_copy(update=changes))


def verdict_of(
    evaluation: Evaluation = EVALUATION,
    compared: Comparison | None = COMPARISON,
    withdrawn: float | None = 0.0,
    rebuild: Verification = LIKE_A_REBUILD,
) -> Judgement:
    evidence = Evidence(evaluation, rebuild, TRAINED_ON, comparison=compared, withdrawn=withdrawn)
    return judge(SETTINGS, evidence)


def against(challenger: QueryResults, champion: QueryResults) -> Judgement:
    return verdict_of(compared=replace(COMPARISON, challenger=challenger, champion=champion))


def broken(verdict: Judgement) -> list[str]:
    return [rule.rule for rule in verdict.rules if not rule.passed]


def test_a_verdict_without_broken_rules_gives_the_sentence_of_every_rule() -> None:
    verdict = verdict_of()
    assert (verdict.verdict, broken(verdict)) == ("passed", [])
    assert len(verdict.reasons) == len(verdict.rules) == 12
    assert all(reason.endswith(".") for reason in verdict.reasons)


@pytest.mark.parametrize("name", ["precision_at_1", "precision_at_10", "map_at_r"])
def test_a_release_may_lose_the_margin_and_no_more(name: str) -> None:
    assert broken(against(results_of(**{name: 0.88}), results_of())) == []
    assert broken(against(results_of(**{name: 0.87}), results_of())) == [
        f"{COMPARED_METRICS[name]} no worse than the champion"
    ]


def test_a_loss_that_may_be_due_to_chance_does_not_reject_and_is_reported() -> None:
    rng = np.random.default_rng(0)
    champion = results_of()
    swapped = rng.permutation(QUERIES)[:40]  # 0.9 of 40 become wrong, 0.1 right
    few = champion.metrics["precision_at_1"].copy()
    few[swapped] = 1 - few[swapped]
    surely = against(replace(champion, metrics={**champion.metrics, "precision_at_1": few}), champion)
    assert broken(surely) == ["Precision@1 no worse than the champion"]

    small = slice(0, 40)
    twice = {name: values[small] for name, values in champion.metrics.items()}
    worse = {**twice, "precision_at_1": twice["precision_at_1"].copy()}
    worse["precision_at_1"][np.flatnonzero(twice["precision_at_1"])[0]] = 0.0
    cut = [
        replace(champion, product_ids=champion.product_ids[small], labels=LABELS[small], metrics=f)
        for f in (worse, twice)
    ]
    verdict = against(*cut)
    assert broken(verdict) == []
    rule = next(rule for rule in verdict.rules if rule.rule == "Precision@1 no worse than the champion")
    assert rule.difference is not None
    assert rule.difference.mean == pytest.approx(-0.025)
    assert "may be due to chance" in rule.sentence
    assert verdict.doubts == [f"{rule.rule}: {rule.sentence}"]
    assert verdict_of().doubts == []


def test_one_worse_category_rejects_although_the_others_make_up_for_it() -> None:
    worse = results_of(1.0)
    hits = worse.metrics["precision_at_10"].copy()
    hits[np.flatnonzero(~BAGS)[::4]] = 0.0
    worse.metrics["precision_at_10"] = hits
    verdict = against(worse, results_of(0.9))
    assert broken(verdict) == ["No category is worse"]
    assert "in category shoes" in verdict.reasons[0]
    assert against(results_of(1.0), results_of(0.9)).verdict == "passed"


def test_untrained_categories_have_a_rule_of_their_own() -> None:
    worse = results_of()
    hits = worse.metrics["precision_at_10"].copy()
    hits[~BAGS] = hits[~BAGS] * 0.8
    worse.metrics["precision_at_10"] = hits
    compared = replace(COMPARISON, challenger=worse)
    verdict = judge(SETTINGS, Evidence(EVALUATION, LIKE_A_REBUILD, frozenset({"bags"}), compared))
    assert "Untrained categories are no worse" in broken(verdict)
    trained = judge(SETTINGS, Evidence(EVALUATION, LIKE_A_REBUILD, TRAINED_ON, compared))
    assert "Untrained categories are no worse" not in broken(trained)
    assert "0 queries in untrained categories, at least 20 are needed" in " ".join(
        rule.sentence for rule in trained.rules
    )


def test_a_rule_with_too_few_queries_says_so_and_rejects_nothing() -> None:
    few = replace(results_of(), labels=np.array([f"c{n % 100}" for n in range(QUERIES)], object))
    verdict = against(few, few)
    rule = next(rule for rule in verdict.rules if rule.rule == "No category is worse")
    assert (rule.passed, rule.sentence) == (
        True,
        "Not evaluated: 10 queries of the largest category, at least 20 are needed.",
    )


def test_of_many_categories_one_may_look_bad_by_chance() -> None:
    """Two hundred equal ones, where the two releases differ by chance alone.

    At 95% each, five would be called worse.
    """
    rng = np.random.default_rng(3)
    labels = np.repeat([f"c{n:03d}" for n in range(200)], 25).astype(object)
    sides = [
        QueryResults(
            np.arange(5000).astype(object),
            labels,
            np.zeros((5000, 10), object),
            {name: (rng.random(5000) < 0.7) * 1.0 for name in QUERY_METRICS},
        )
        for _ in range(2)
    ]
    assert "No category is worse" not in broken(against(*sides))


def test_new_products_must_be_found_as_well_as_existing_ones() -> None:
    added = np.arange(QUERIES) % 10 == 3
    hits = np.where(added, 0.7, 0.9)
    worse = replace(
        EVALUATION,
        results=replace(EVALUATION.results, metrics={**EVALUATION.results.metrics, "precision_at_10": hits}),
        new_since_champion=added,
    )
    assert broken(verdict_of(worse)) == ["New products are no worse"]
    assert broken(verdict_of(replace(EVALUATION, new_since_champion=added))) == []
    assert broken(verdict_of(replace(worse, new_since_champion=np.arange(QUERIES) < 19))) == [], (
        "too few to say"
    )


def test_a_feed_of_a_difficult_category_is_not_rejected_for_that() -> None:
    hits = np.where(BAGS, np.arange(QUERIES) % 2, 1.0)
    metrics = {**EVALUATION.results.metrics, "precision_at_10": hits}
    all_bags = BAGS & (np.arange(QUERIES) % 3 == 0)
    assert (
        broken(
            verdict_of(
                replace(
                    EVALUATION,
                    results=replace(EVALUATION.results, metrics=metrics),
                    new_since_champion=all_bags,
                )
            )
        )
        == []
    )


@pytest.mark.parametrize("value", [float("nan"), 0.949, -1.0])
def test_an_index_with_too_little_recall_is_rejected(value: float) -> None:
    assert broken(verdict_of(measured(ann_recall_at_10=value))) == ["Index recall"]


@pytest.mark.parametrize("value", [float("nan"), 0.9989])
def test_a_release_in_which_some_products_are_not_found_is_rejected(value: float) -> None:
    verdict = verdict_of(measured(coverage=value))
    assert broken(verdict) == ["Every product is found"]
    assert verdict.mended_by_rebuild


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        ("missing", "1 are missing, 0 unexpected"),
        ("unexpected", "1 unexpected"),
        ("outdated", "1 outdated"),
        ("differing", "1 of 10 vectors or thumbnails differ"),
    ],
)
def test_an_index_with_other_products_than_a_rebuild_is_rejected(difference: str, sentence: str) -> None:
    verdict = verdict_of(rebuild=LIKE_A_REBUILD.model_copy(update={difference: 1}))
    assert broken(verdict) == ["Same contents as a rebuild"]
    assert sentence in verdict.reasons[0]
    assert verdict.mended_by_rebuild


@pytest.mark.parametrize("overlap", [0.9899, float("nan")])
def test_an_index_that_finds_less_than_a_rebuild_is_rejected(overlap: float) -> None:
    verdict = verdict_of(rebuild=LIKE_A_REBUILD.model_copy(update={"overlap": overlap}))
    assert broken(verdict) == ["Same recall as a rebuild"]
    assert verdict.mended_by_rebuild


def test_a_rebuild_does_not_mend_a_model() -> None:
    assert not against(results_of(0.1), results_of()).mended_by_rebuild
    assert verdict_of(
        measured(ann_recall_at_10=0.1), replace(COMPARISON, challenger=results_of(0.1))
    ).mended_by_rebuild
    assert not verdict_of().mended_by_rebuild


def test_the_first_release_must_beat_the_most_frequent_category() -> None:
    assert broken(verdict_of(measured(precision_at_1=0.6), None, None)) == ["Better than guessing"]
    assert verdict_of(measured(precision_at_1=0.61), None, None).verdict == "passed"


def test_a_release_that_shares_too_few_products_is_rejected_unless_a_person_accepted_the_feed() -> None:
    assert broken(verdict_of(compared=None, withdrawn=1.0)) == [
        "Comparable with the champion",
        "Products are kept",
    ]
    assert broken(verdict_of(compared=None, withdrawn=0.0)) == ["Comparable with the champion"]
    accepted = judge(SETTINGS, Evidence(EVALUATION, LIKE_A_REBUILD, TRAINED_ON, None, 1.0, "ada"))
    assert accepted.verdict == "passed"
    assert "ada accepted" in " ".join(accepted.reasons)


@pytest.mark.parametrize(
    ("own", "champion", "found"), [(21.0, 10.0, ["Query time"]), (19.0, 10.0, []), (4.9, 0.1, [])]
)
def test_a_slow_release_is_rejected_but_not_for_milliseconds(
    own: float, champion: float, found: list[str]
) -> None:
    assert broken(verdict_of(replace(EVALUATION, times=QueryTimes(own, champion, "champion")))) == found


def test_the_first_release_must_be_as_quick_as_an_exact_search() -> None:
    slow, quick = (replace(EVALUATION, times=QueryTimes(own, 10.0, "exact search")) for own in (21.0, 19.0))
    assert broken(verdict_of(slow, None, None)) == ["Query time"]
    assert broken(verdict_of(quick, None, None)) == []
    rule = next(rule for rule in verdict_of(slow, None, None).rules if rule.rule == "Query time")
    assert "the exact search 10.00 ms" in rule.sentence
    assert rule.champion is None


def test_results_may_change_with_another_encoder_but_not_with_the_same() -> None:
    assert broken(verdict_of(compared=replace(COMPARISON, churn=0.51))) == ["Results are stable"]
    assert broken(verdict_of(compared=replace(COMPARISON, churn=0.51, same_model=False))) == []


def test_a_release_without_most_of_the_products_is_rejected() -> None:
    assert broken(verdict_of(withdrawn=0.81)) == ["Products are kept"]


@pytest.mark.parametrize("name", ["precision_at_1", "precision_at_10", "map_at_r"])
def test_a_metric_that_is_not_a_number_rejects(name: str) -> None:
    lost = results_of()
    lost.metrics[name] = np.full(QUERIES, np.nan)
    assert f"{COMPARED_METRICS[name]} no worse than the champion" in broken(against(lost, results_of()))
    assert f"{COMPARED_METRICS[name]} no worse than the champion" in broken(against(results_of(), lost))


def test_a_coverage_that_was_not_measured_rejects() -> None:
    assert verdict_of(measured(coverage=None)).verdict == "rejected"


def test_a_rejection_names_every_broken_rule_and_no_other() -> None:
    verdict = verdict_of(
        measured(ann_recall_at_10=0.1),
        replace(COMPARISON, challenger=results_of(precision_at_1=0.1)),
        rebuild=LIKE_A_REBUILD.model_copy(update={"missing": 1}),
    )
    assert broken(verdict) == [
        "Index recall",
        "Same contents as a rebuild",
        "Precision@1 no worse than the champion",
    ]
    assert [reason.partition(":")[0] for reason in verdict.reasons] == broken(verdict)


def test_a_comparison_has_both_figures_and_the_interval() -> None:
    judgement = verdict_of()
    assert judgement.verdict == "passed"
    rule = next(rule for rule in judgement.rules if rule.rule == "Precision@1 no worse than the champion")
    assert rule.difference == ConfidenceInterval(mean=0.0, low=0.0, high=0.0)
    assert rule.challenger == rule.champion == pytest.approx(0.9)
