from __future__ import annotations

import hashlib
from collections import Counter

from recsim_tasks.learning.data.shards import fractions_and_keys
from recsim_tasks.learning.data.splits import split_of, splits_of


def hashes(count: int) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]


def test_ninety_percent_train_and_five_each_for_validation_and_test() -> None:
    counts = Counter(split_of(name) for name in hashes(20_000))
    assert abs(counts["train"] / 20_000 - 0.90) < 0.01
    assert abs(counts["validation"] / 20_000 - 0.05) < 0.01
    assert abs(counts["test"] / 20_000 - 0.05) < 0.01


def test_an_image_stays_in_its_split_whatever_else_there_is() -> None:
    assert [split_of(name) for name in hashes(100)] == [split_of(name) for name in hashes(200)][:100]
    assert split_of("0" * 64) == "test"
    assert split_of("f" * 64) == "train"
    assert split_of("0e" + "0" * 62) == "validation"


def test_splits_of_many_images_equal_those_one_by_one() -> None:
    assert splits_of(fractions_and_keys(hashes(500))[0]).tolist() == [split_of(name) for name in hashes(500)]
