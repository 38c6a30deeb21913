from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_tasks.catalogue.feeds.guards import ActionCount, FeedEffect, check_guards
from recsim_tasks.foundation.settings import Settings

SHOES_AND_BAGS: dict[str | None, int] = {"shoes": 60, "bags": 40}


def violated(settings: Settings, products: dict[str | None, int], *actions: ActionCount) -> set[str]:
    return {figure.guard for figure in check_guards(FeedEffect(list(actions), products), settings)}


def withdraw(count: int, category: str | None, action: str = "withdraw") -> ActionCount:
    return ActionCount(action, category, None, count)


@pytest.mark.parametrize(
    ("products", "actions", "guards"),
    [
        ({}, [ActionCount("insert", None, "shoes", 1000)], set()),
        (
            SHOES_AND_BAGS,
            [ActionCount("insert", None, "shoes", 10), ActionCount("update", "bags", "bags", 40)],
            set(),
        ),
        (SHOES_AND_BAGS, [withdraw(30, "shoes"), withdraw(20, "bags")], set()),
        (SHOES_AND_BAGS, [withdraw(31, "shoes"), withdraw(20, "bags")], {"max_withdrawn_share"}),
        (SHOES_AND_BAGS, [withdraw(31, "shoes", "delete"), withdraw(20, "bags")], {"max_withdrawn_share"}),
        (SHOES_AND_BAGS, [withdraw(32, "bags")], set()),
        (SHOES_AND_BAGS, [withdraw(33, "bags")], {"max_withdrawn_category_share"}),
        ({"shoes": 60, "hats": 19}, [withdraw(19, "hats")], set()),
        ({None: 60, "hats": 200}, [withdraw(49, None)], {"max_withdrawn_category_share"}),
        ({"shoes": 4}, [withdraw(3, "shoes")], {"max_withdrawn_share"}),
        ({}, [ActionCount("quarantine", None, None, 20), ActionCount("insert", None, "shoes", 80)], set()),
        (
            {},
            [ActionCount("quarantine", None, None, 21), ActionCount("insert", None, "shoes", 79)],
            {"max_quarantined_share"},
        ),
        ({}, [ActionCount("quarantine", None, None, 19)], set()),
        (
            SHOES_AND_BAGS,
            [ActionCount("outdated", "bags", "shoes", 40), ActionCount("unchanged", "shoes", "shoes", 60)],
            set(),
        ),
        (SHOES_AND_BAGS, [ActionCount("update", "shoes", "bags", 30)], set()),
        (SHOES_AND_BAGS, [ActionCount("update", "shoes", "bags", 31)], {"max_category_shift"}),
        (SHOES_AND_BAGS, [ActionCount("insert", None, "hats", 100)], {"max_category_shift"}),
        ({"shoes": 19}, [ActionCount("insert", None, "hats", 100)], set()),
    ],
)
def test_a_guard_is_violated_above_its_limit_only(
    settings: Settings, products: dict[str | None, int], actions: list[ActionCount], guards: set[str]
) -> None:
    assert violated(settings, products, *actions) == guards


def test_a_violation_states_value_limit_and_setting(settings: Settings) -> None:
    (figure,) = check_guards(FeedEffect([withdraw(33, "bags")], SHOES_AND_BAGS), settings)
    assert figure.model_dump() == {
        "guard": "max_withdrawn_category_share",
        "value": 0.825,
        "limit": 0.8,
        "category": "bags",
        "sentence": "The feed would withdraw 33 of 40 products of category 'bags' (82.5%); "
        "RECSIM_MAX_WITHDRAWN_CATEGORY_SHARE allows 80%.",
    }
    (figure,) = check_guards(
        FeedEffect([ActionCount("update", "shoes", "bags", 60)], SHOES_AND_BAGS), settings
    )
    assert "most of all 'shoes' from 60% to 0%" in figure.sentence


def test_a_limit_of_zero_allows_not_even_one_product(settings: Settings) -> None:
    strict = settings.model_copy(update={"max_withdrawn_share": 0.0, "max_withdrawn_category_share": 1.0})
    (figure,) = check_guards(FeedEffect([withdraw(1, "shoes")], {"shoes": 60_000}), strict)
    assert "would withdraw 1 of 60,000 products (0.00167%)" in figure.sentence
    assert "allows 0%" in figure.sentence


Categories = st.sampled_from([None, "a", "b", "c"])


Harmless = st.sampled_from(["insert", "quarantine", "outdated", "unchanged"])


@given(
    st.dictionaries(Categories, st.integers(0, 100)),
    st.lists(st.builds(ActionCount, Harmless, st.none(), Categories, st.integers(0, 50))),
)
def test_a_feed_without_withdrawals_violates_no_guard_of_withdrawals(
    products: dict[str | None, int], actions: list[ActionCount]
) -> None:
    guards = {figure.guard for figure in check_guards(FeedEffect(actions, products), Settings())}
    assert not guards & {"max_withdrawn_share", "max_withdrawn_category_share"}
