"""What the tests of the index do not show of these checks."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.validation import NORM_TOLERANCE, check_products, check_vectors, is_unit
from vectors.reference import products, unit


def test_unit_vectors_may_be_off_by_the_tolerance_and_huge_values_are_none() -> None:
    vector = unit(1)
    rows = [
        vector * (1 + NORM_TOLERANCE / 2),
        vector * (1 + NORM_TOLERANCE * 2),
        vector * 0 + np.float32(3e38),
    ]
    assert is_unit(np.concatenate(rows)).tolist() == [True, False, False]


def test_any_number_of_dimensions_is_valid_where_none_is_required() -> None:
    check_vectors(unit(2, dimensions=5), 2, None)
    with pytest.raises(InputError, match=r"Expected vectors of shape \(2, 4\), got \(2, 5\)"):
        check_vectors(unit(2, dimensions=5), 2, 4)
    with pytest.raises(InputError, match=r"Expected vectors of shape \(3, any\), got \(2, 5\)"):
        check_vectors(unit(2, dimensions=5), 3, None)


def test_an_error_names_a_few_of_the_repeated_products() -> None:
    with pytest.raises(InputError, match=r"9 occur more than once: p-0, p-1, p-2, p-3, p-4\. Pass"):
        check_products(products([f"p-{n}" for n in range(9)] * 2))
