from __future__ import annotations

from recsim_tasks.contracts import IndexResult, IndexVerifyResult


def test_the_summary_of_an_index_counts_its_changes() -> None:
    result = IndexResult(size=60_900, added=900, replaced=300, removed=0, index_fingerprint="f")
    assert result.summary == "60,900 products: 900 added, 300 replaced, 0 removed"


def test_the_summary_of_a_verification_is_its_reasons() -> None:
    result = IndexVerifyResult(
        size=1,
        missing=0,
        unexpected=0,
        outdated=0,
        compared=1,
        differing=0,
        overlap=1.0,
        rebuilt_overlap=1.0,
        equal=True,
        reasons=["It holds.", "It finds."],
    )
    assert result.summary == "It holds. It finds."
