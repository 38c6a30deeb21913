from __future__ import annotations

import pytest

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.refresh.plan import Facts, decide

NOTHING = {"insert": 0, "replace": 0, "update": 0, "delete": 0}
SOMETHING = NOTHING | {"insert": 2, "delete": 1}


@pytest.mark.parametrize(
    ("facts", "decision", "reason"),
    [
        (Facts(None, Cursor("t", 3), None), "retrain", "No release is in Production yet."),
        (Facts(Cursor("t", 3), Cursor("t", 3), NOTHING), "skip", "No product changed since version 3 of the catalogue."),
        (Facts(Cursor("t", 3), Cursor("t", 9), NOTHING), "skip", "No product changed since version 3 of the catalogue."),
        (Facts(Cursor("t", 3), Cursor("t", 5), SOMETHING), "append", "Changes since version 3 up to 5: 2 insert, 1 delete."),
        (Facts(Cursor("t", 3), Cursor("other", 5), None), "rebuild", "The catalogue was created anew since the champion's release."),
        (Facts(Cursor("t", 5), Cursor("t", 3), None), "rebuild", "The catalogue was restored to version 3, before the champion's 5."),
        (Facts(Cursor("t", 3), Cursor("t", 5), None, "The feed is off."), "rebuild", "The feed is off."),
    ],
)
def test_the_cheapest_refresh_that_does_is_planned_with_its_reason(facts: Facts, decision: str, reason: str) -> None:
    made = decide(facts)
    assert (made.decision, made.reasons) == (decision, [reason])


@pytest.mark.parametrize("mode", ["append", "rebuild", "retrain"])
def test_a_mode_that_is_possible_overrules(mode: str) -> None:
    made = decide(Facts(Cursor("t", 3), Cursor("t", 5), SOMETHING), mode)  # type: ignore[arg-type]
    assert (made.decision, made.reasons[0]) == (mode, f"Mode {mode} was asked for.")


@pytest.mark.parametrize(
    ("facts", "mode"),
    [
        (Facts(None, Cursor("t", 1), None), "append"),
        (Facts(None, Cursor("t", 1), None), "rebuild"),
        (Facts(Cursor("t", 3), Cursor("t", 5), None), "append"),
    ],
)
def test_a_mode_that_is_impossible_is_refused_with_what_to_do(facts: Facts, mode: str) -> None:
    with pytest.raises(InputError, match=f"Mode {mode} is not possible: .* Run with mode re"):
        decide(facts, mode)  # type: ignore[arg-type]
