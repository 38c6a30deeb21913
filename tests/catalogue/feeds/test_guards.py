from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_tasks.catalogue.feeds.guards import Done, Tally, judge
from recsim_tasks.foundation.settings import Settings

SHOES_AND_BAGS: dict[str | None, int] = {"shoes": 60, "bags": 40}


def held_by(settings: Settings, products: dict[str | None, int], *done: Done) -> set[str]:
    return {figure.guard for figure in judge(Tally(list(done), products), settings)}


def withdraw(count: int, category: str | None, action: str = "withdraw") -> Done:
    return Done(action, category, None, count)


@pytest.mark.parametrize(
    ("products", "done", "guards"),
    [
        ({}, [Done("insert", None, "shoes", 1000)], set()),
        (SHOES_AND_BAGS, [Done("insert", None, "shoes", 10), Done("update", "bags", "bags", 40)], set()),
        (SHOES_AND_BAGS, [withdraw(30, "shoes"), withdraw(20, "bags")], set()),
        (SHOES_AND_BAGS, [withdraw(31, "shoes"), withdraw(20, "bags")], {"max_withdrawn_share"}),
        (SHOES_AND_BAGS, [withdraw(31, "shoes", "delete"), withdraw(20, "bags")], {"max_withdrawn_share"}),
        (SHOES_AND_BAGS, [withdraw(32, "bags")], set()),
        (SHOES_AND_BAGS, [withdraw(33, "bags")], {"max_withdrawn_category_share"}),
        ({"shoes": 60, "hats": 19}, [withdraw(19, "hats")], set()),
        ({None: 60, "hats": 200}, [withdraw(49, None)], {"max_withdrawn_category_share"}),
        ({"shoes": 4}, [withdraw(3, "shoes")], {"max_withdrawn_share"}),
        ({}, [Done("quarantine", None, None, 20), Done("insert", None, "shoes", 80)], set()),
        (
            {},
            [Done("quarantine", None, None, 21), Done("insert", None, "shoes", 79)],
            {"max_quarantined_share"},
        ),
        ({}, [Done("quarantine", None, None, 19)], set()),
        (
            SHOES_AND_BAGS,
            [Done("outdated", "bags", "shoes", 40), Done("unchanged", "shoes", "shoes", 60)],
            set(),
        ),
        (SHOES_AND_BAGS, [Done("update", "shoes", "bags", 30)], set()),
        (SHOES_AND_BAGS, [Done("update", "shoes", "bags", 31)], {"max_category_shift"}),
        (SHOES_AND_BAGS, [Done("insert", None, "hats", 100)], {"max_category_shift"}),
        ({"shoes": 19}, [Done("insert", None, "hats", 100)], set()),
    ],
)
def test_a_guard_holds_what_is_beyond_its_limit_and_nothing_else(
    settings: Settings, products: dict[str | None, int], done: list[Done], guards: set[str]
) -> None:
    assert held_by(settings, products, *done) == guards


def test_a_guard_says_what_it_found_what_is_allowed_and_which_setting_allows_more(settings: Settings) -> None:
    (figure,) = judge(Tally([withdraw(33, "bags")], SHOES_AND_BAGS), settings)
    assert figure.as_json() == {
        "guard": "max_withdrawn_category_share",
        "value": 0.825,
        "limit": 0.8,
        "sentence": "The feed would withdraw 33 of 40 products of category 'bags' (82%); RECSIM_MAX_WITHDRAWN_CATEGORY_SHARE allows 80%.",
    }
    (figure,) = judge(Tally([Done("update", "shoes", "bags", 60)], SHOES_AND_BAGS), settings)
    assert "most of all 'shoes' from 60% to 0%" in figure.sentence


Categories = st.sampled_from([None, "a", "b", "c"])


@given(st.dictionaries(Categories, st.integers(0, 100)), st.lists(st.builds(Done, st.sampled_from(["insert", "quarantine", "outdated", "unchanged"]), st.none(), Categories, st.integers(0, 50))))  # fmt: skip
def test_what_takes_nothing_away_is_never_held_for_a_withdrawal(
    products: dict[str | None, int], done: list[Done]
) -> None:
    guards = {figure.guard for figure in judge(Tally(done, products), Settings())}
    assert not guards & {"max_withdrawn_share", "max_withdrawn_category_share"}
