from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.evaluation.evaluate import Comparison, Evaluation
from recsim_tasks.release.evaluation.queries import FIGURES, Answered
from recsim_tasks.release.evaluation.speed import QueryTimes
from recsim_tasks.release.gate.gate import Verdict, judge
from recsim_tasks.release.gate.rules import OVERALL
from recsim_tasks.vectors.consistency import Verification

SETTINGS = Settings.model_construct()
QUERIES = 1_000
BAGS = np.arange(QUERIES) % 10 < 6
LABELS = np.where(BAGS, "bags", "shoes").astype(object)
TRAINED_ON = frozenset({"bags", "shoes"})
LIKE_A_REBUILD = Verification(
    size=10, missing=0, unexpected=0, outdated=0, compared=10, differing=0, overlap=0.99, rebuilt_overlap=1.0
)
METRICS = {"precision_at_1": 0.9, "ann_recall_at_10": 0.99, "coverage": 1.0}


def answered(share: float = 0.9, queries: int = QUERIES, **wrong: Any) -> Answered:
    """Every figure is 1 for this share of the queries, spread evenly over the categories, and 0 for the others; `wrong` figures are another share's."""
    shares = dict.fromkeys(FIGURES, share) | wrong
    hits = {
        name: (np.arange(queries) // 10 * 7 % 100 >= round(100 * (1 - of))).astype(float)
        for name, of in shares.items()
    }
    return Answered(
        np.arange(queries).astype(object), LABELS[:queries], np.zeros((queries, 10), object), hits
    )


EVALUATION = Evaluation(answered(), METRICS, QueryTimes(1.0, 1.0, "champion"), None, None)
COMPARISON = Comparison(answered(), answered(), churn=0.1, lists_changed=0.3, same_model=True)


def measured(**changes: float) -> Evaluation:
    return replace(EVALUATION, metrics={**METRICS, **changes})


def verdict_of(
    evaluation: Evaluation = EVALUATION,
    compared: Comparison | None = COMPARISON,
    withdrawn: float | None = 0.0,
    **differences: float,
) -> Verdict:
    verified = replace(LIKE_A_REBUILD, **differences)  # type: ignore[arg-type]
    return judge(SETTINGS, evaluation, compared, verified, TRAINED_ON, withdrawn)


def against(challenger: Answered, champion: Answered) -> Verdict:
    return verdict_of(compared=replace(COMPARISON, challenger=challenger, champion=champion))


def broken(verdict: Verdict) -> list[str]:
    return [rule.rule for rule in verdict.rules if not rule.passed]


def test_a_pass_gives_the_sentence_of_every_rule() -> None:
    verdict = verdict_of()
    assert (verdict.verdict, broken(verdict)) == ("pass", [])
    assert len(verdict.reasons) == len(verdict.rules) == 12
    assert all(reason.endswith(".") for reason in verdict.reasons)


@pytest.mark.parametrize("name", ["precision_at_1", "precision_at_10", "map_at_r"])
def test_a_release_may_lose_the_margin_and_no_more(name: str) -> None:
    assert broken(against(answered(**{name: 0.88}), answered())) == []
    assert broken(against(answered(**{name: 0.87}), answered())) == [
        f"{OVERALL[name]} no worse than the champion"
    ]


def test_a_loss_that_chance_may_have_made_does_not_hold_and_that_is_said() -> None:
    rng = np.random.default_rng(0)
    champion = answered()
    swapped = rng.permutation(QUERIES)[:40]  # 0.9 of 40 become wrong, 0.1 right
    few = champion.figures["precision_at_1"].copy()
    few[swapped] = 1 - few[swapped]
    surely = against(replace(champion, figures={**champion.figures, "precision_at_1": few}), champion)
    assert broken(surely) == ["Precision@1 no worse than the champion"]

    small = slice(0, 40)
    twice = {name: values[small] for name, values in champion.figures.items()}
    worse = {**twice, "precision_at_1": twice["precision_at_1"].copy()}
    worse["precision_at_1"][np.flatnonzero(twice["precision_at_1"])[0]] = 0.0
    cut = [
        replace(champion, product_ids=champion.product_ids[small], labels=LABELS[small], figures=f)
        for f in (worse, twice)
    ]
    verdict = against(*cut)
    assert broken(verdict) == []
    rule = next(rule for rule in verdict.rules if rule.rule == "Precision@1 no worse than the champion")
    assert rule.difference is not None
    assert rule.difference.mean == pytest.approx(-0.025)
    assert "so few queries do not show that it lost anything" in rule.sentence
    assert verdict.doubts == verdict.as_result()["doubts"] == [f"{rule.rule}: {rule.sentence}"]
    assert verdict_of().doubts == []


def test_one_category_that_has_become_worse_holds_although_the_others_make_up_for_it() -> None:
    worse = answered(1.0)
    hits = worse.figures["precision_at_10"].copy()
    hits[np.flatnonzero(~BAGS)[::4]] = 0.0
    worse.figures["precision_at_10"] = hits
    verdict = against(worse, answered(0.9))
    assert broken(verdict) == ["No category worse"]
    assert "in category shoes" in verdict.reasons[0]
    assert against(answered(1.0), answered(0.9)).verdict == "pass"


def test_categories_that_the_model_was_not_trained_on_are_a_rule_of_their_own() -> None:
    worse = answered()
    hits = worse.figures["precision_at_10"].copy()
    hits[~BAGS] = hits[~BAGS] * 0.8
    worse.figures["precision_at_10"] = hits
    compared = replace(COMPARISON, challenger=worse)
    verdict = judge(SETTINGS, EVALUATION, compared, LIKE_A_REBUILD, frozenset({"bags"}))
    assert "No worse where it was not trained" in broken(verdict)
    trained = judge(SETTINGS, EVALUATION, compared, LIKE_A_REBUILD, TRAINED_ON)
    assert "No worse where it was not trained" not in broken(trained)
    assert "0 queries in categories that the model was not trained on say nothing" in " ".join(
        rule.sentence for rule in trained.rules
    )


def test_a_rule_that_has_too_few_queries_says_so_and_holds_nothing() -> None:
    few = replace(answered(), labels=np.array([f"c{n % 100}" for n in range(QUERIES)], object))
    verdict = against(few, few)
    rule = next(rule for rule in verdict.rules if rule.rule == "No category worse")
    assert (rule.passed, rule.sentence) == (True, "10 queries of any one category say nothing; 20 would.")
    assert verdict.as_result()["rules"][0]["rule"]


def test_of_many_categories_one_may_look_bad_by_chance() -> None:
    """Two hundred equal ones, where the two releases differ by chance alone: at 95 % each, five would be called worse."""
    rng = np.random.default_rng(3)
    labels = np.repeat([f"c{n:03d}" for n in range(200)], 25).astype(object)
    sides = [
        Answered(
            np.arange(5000).astype(object),
            labels,
            np.zeros((5000, 10), object),
            {name: (rng.random(5000) < 0.7) * 1.0 for name in FIGURES},
        )
        for _ in range(2)
    ]
    assert "No category worse" not in broken(against(*sides))


def test_products_that_were_added_now_must_be_found_as_well_as_the_others() -> None:
    added = np.arange(QUERIES) % 10 == 3
    hits = np.where(added, 0.7, 0.9)
    worse = replace(
        EVALUATION,
        answered=replace(
            EVALUATION.answered, figures={**EVALUATION.answered.figures, "precision_at_10": hits}
        ),
        added_now=added,
    )
    assert broken(verdict_of(worse)) == ["No worse where it is new"]
    assert broken(verdict_of(replace(EVALUATION, added_now=added))) == []
    assert broken(verdict_of(replace(worse, added_now=np.arange(QUERIES) < 19))) == [], "too few to say"


def test_a_feed_of_a_category_that_is_hard_is_not_worse_for_that() -> None:
    hits = np.where(BAGS, np.arange(QUERIES) % 2, 1.0)
    figures = {**EVALUATION.answered.figures, "precision_at_10": hits}
    all_bags = BAGS & (np.arange(QUERIES) % 3 == 0)
    assert (
        broken(
            verdict_of(
                replace(
                    EVALUATION, answered=replace(EVALUATION.answered, figures=figures), added_now=all_bags
                )
            )
        )
        == []
    )


@pytest.mark.parametrize("value", [float("nan"), 0.949, -1.0])
def test_an_index_that_does_not_find_the_nearest_is_held(value: float) -> None:
    assert broken(verdict_of(measured(ann_recall_at_10=value))) == ["Recall of the index"]


@pytest.mark.parametrize("value", [float("nan"), 0.9989])
def test_a_release_in_which_some_products_are_not_found_is_held(value: float) -> None:
    verdict = verdict_of(measured(coverage=value))
    assert broken(verdict) == ["Every product is found"]
    assert verdict.mended_by_rebuild


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        ("missing", "1 are missing, 0 unexpected"),
        ("unexpected", "1 unexpected"),
        ("outdated", "1 outdated"),
        ("differing", "1 of 10 vectors or thumbnails differ"),
    ],
)
def test_an_index_that_holds_other_products_than_a_rebuild_is_held(difference: str, said: str) -> None:
    verdict = verdict_of(**{difference: 1})
    assert broken(verdict) == ["Same contents as a rebuild"]
    assert said in verdict.reasons[0]
    assert verdict.mended_by_rebuild


@pytest.mark.parametrize("overlap", [0.9899, float("nan")])
def test_an_index_that_finds_less_than_a_rebuild_is_held(overlap: float) -> None:
    verdict = verdict_of(overlap=overlap)
    assert broken(verdict) == ["Same neighbours as a rebuild"]
    assert verdict.mended_by_rebuild


def test_a_rebuild_does_not_mend_a_model() -> None:
    assert not against(answered(0.1), answered()).mended_by_rebuild
    assert verdict_of(
        measured(ann_recall_at_10=0.1), replace(COMPARISON, challenger=answered(0.1))
    ).mended_by_rebuild
    assert not verdict_of().mended_by_rebuild


def test_the_first_release_must_beat_the_most_frequent_category() -> None:
    assert broken(verdict_of(measured(precision_at_1=0.6), None, None)) == ["Better than guessing"]
    assert verdict_of(measured(precision_at_1=0.61), None, None).verdict == "pass"


def test_a_release_that_has_nothing_in_common_with_the_champion_is_held_unless_somebody_accepted_what_made_it_so() -> (
    None
):
    assert broken(verdict_of(compared=None, withdrawn=1.0)) == [
        "Comparable with the champion",
        "Products stay",
    ]
    assert broken(verdict_of(compared=None, withdrawn=0.0)) == ["Comparable with the champion"]
    accepted = judge(SETTINGS, EVALUATION, None, LIKE_A_REBUILD, TRAINED_ON, 1.0, "ada")
    assert accepted.verdict == "pass"
    assert "ada has accepted" in " ".join(accepted.reasons)


@pytest.mark.parametrize(
    ("own", "champion", "found"), [(21.0, 10.0, ["Quick enough"]), (19.0, 10.0, []), (4.9, 0.1, [])]
)
def test_a_slow_release_is_held_but_not_for_milliseconds(
    own: float, champion: float, found: list[str]
) -> None:
    assert broken(verdict_of(replace(EVALUATION, times=QueryTimes(own, champion, "champion")))) == found


def test_the_first_release_must_be_as_quick_as_an_exact_search() -> None:
    slow, quick = (replace(EVALUATION, times=QueryTimes(own, 10.0, "exact search")) for own in (21.0, 19.0))
    assert broken(verdict_of(slow, None, None)) == ["Quick enough"]
    assert broken(verdict_of(quick, None, None)) == []
    rule = next(rule for rule in verdict_of(slow, None, None).rules if rule.rule == "Quick enough")
    assert "by the exact search 10.00 ms" in rule.sentence
    assert rule.champion is None


def test_the_same_model_may_not_answer_with_others_and_another_model_may() -> None:
    assert broken(verdict_of(compared=replace(COMPARISON, churn=0.51))) == ["Neighbours stay"]
    assert broken(verdict_of(compared=replace(COMPARISON, churn=0.51, same_model=False))) == []


def test_a_release_that_lacks_most_of_the_products_is_held() -> None:
    assert broken(verdict_of(withdrawn=0.81)) == ["Products stay"]


@pytest.mark.parametrize("name", ["precision_at_1", "precision_at_10", "map_at_r"])
def test_a_figure_that_is_not_a_number_holds(name: str) -> None:
    lost = answered()
    lost.figures[name] = np.full(QUERIES, np.nan)
    assert f"{OVERALL[name]} no worse than the champion" in broken(against(lost, answered()))
    assert f"{OVERALL[name]} no worse than the champion" in broken(against(answered(), lost))


@pytest.mark.parametrize("name", ["ann_recall_at_10", "coverage"])
def test_a_figure_that_is_missing_holds(name: str) -> None:
    assert (
        verdict_of(replace(EVALUATION, metrics={k: v for k, v in METRICS.items() if k != name})).verdict
        == "hold"
    )


def test_a_hold_names_every_broken_rule_and_no_other() -> None:
    verdict = verdict_of(
        measured(ann_recall_at_10=0.1),
        replace(COMPARISON, challenger=answered(precision_at_1=0.1)),
        missing=1,
    )
    assert broken(verdict) == [
        "Recall of the index",
        "Same contents as a rebuild",
        "Precision@1 no worse than the champion",
    ]
    assert [reason.partition(":")[0] for reason in verdict.reasons] == broken(verdict)


def test_the_stored_form_has_every_figure() -> None:
    stored = verdict_of().as_result()
    assert stored["verdict"] == "pass"
    rule = next(rule for rule in stored["rules"] if rule["rule"] == "Precision@1 no worse than the champion")
    assert rule["difference"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert rule["challenger"] == rule["champion"] == pytest.approx(0.9)
