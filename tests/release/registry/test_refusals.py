from __future__ import annotations

import pytest

from recsim_tasks.contracts import Freeze
from recsim_tasks.foundation.errors import FrozenError, RejectedError
from recsim_tasks.release.registry.approval import Approval
from recsim_tasks.release.registry.refusals import promotion_refusal

PASSED = {"gate.verdict": "passed", "gate.champion": "1", "refresh_id": "r"}
FREEZE = Freeze(by="ada", through="cli", at=1_800_000_000.0, reason="poor results", release=2, to=1)


def test_a_passed_release_that_was_compared_with_the_champion_is_promoted() -> None:
    assert promotion_refusal(2, PASSED, 1, None, None) is None


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({}, "has no verdict of the gate"),
        (PASSED | {"gate.verdict": "pass"}, "has no verdict of the gate"),
        (PASSED | {"gate.verdict": "rejected", "gate.reasons": "A.\nB."}, "stays in Staging. A. B."),
        (
            PASSED | {"rolled_back": "poor"},
            "was rolled back: poor. To serve it anyway: `recsim rollback --to 2`",
        ),
        (PASSED | {"approval": Approval("awaited").as_tag()}, "it waits for an approval"),
        (PASSED | {"gate.champion": ""}, "was compared with no release, but release 1 is in Production now"),
        (PASSED | {"gate.champion": "7"}, "was compared with release 7, but release 1 is in Production now"),
    ],
)
def test_the_reason_why_a_release_is_rejected_is_a_sentence(tags: dict[str, str], sentence: str) -> None:
    error = promotion_refusal(2, tags, 1, None, None)
    assert isinstance(error, RejectedError)
    assert sentence in str(error)


def test_frozen_promotions_are_an_error_of_their_own_that_names_who_froze_them() -> None:
    error = promotion_refusal(3, PASSED, 1, FREEZE, None)
    assert isinstance(error, FrozenError)
    assert str(error) == (
        "Promotions are frozen by ada since 2027-01-15 08:00 UTC: poor results. Release 3 stays in Staging; "
        "after `recsim resume`, the next refresh promotes again."
    )


def test_a_rejected_release_is_called_rejected_also_while_promotions_are_frozen() -> None:
    assert isinstance(promotion_refusal(3, {"gate.verdict": "rejected"}, 1, FREEZE, None), RejectedError)
