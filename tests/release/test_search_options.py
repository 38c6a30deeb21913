from __future__ import annotations

import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release.search_options import MAX_NEIGHBOURS, SearchOptions
from recsim_tasks.vectors.filters import Filters


def test_no_option_is_needed() -> None:
    options = SearchOptions.of({})
    assert (options.k, options.filters, options.distinct) == (10, Filters(), False)


def test_options_become_the_filters_of_the_index() -> None:
    options = SearchOptions.of({"categories": ["hats"], "min_price": 1, "in_stock": True, "exclude": ["p"]})
    assert options.filters == Filters(("hats",), 1.0, None, True, ("p",))


def test_every_invalid_option_is_named_in_one_error() -> None:
    with pytest.raises(InputError) as refused:
        SearchOptions.of({"k": MAX_NEIGHBOURS + 1, "min_price": -1, "colour": "red", "exclude": ["\udc80"]})
    assert all(name in str(refused.value) for name in ("k: ", "min_price: ", "colour: ", "exclude.0: "))
