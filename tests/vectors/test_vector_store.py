"""One contract for every vector store, with a dictionary as the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from recsim_tasks.arrays import Float32Array, Int64Array
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.vectors.faiss_store import FlatStore, IVFStore, create, read
from recsim_tasks.vectors.vector_store import VectorStore
from vectors.reference import DIMENSIONS, Dictionary, unit

SIZE = 600
VECTORS, KEYS = unit(SIZE), np.arange(SIZE) * 3
Make = Callable[[Float32Array, Int64Array], VectorStore]
KINDS: dict[str, Make] = {
    "dictionary": Dictionary,
    "exact": FlatStore.of,
    "inverted lists": lambda vectors, keys: IVFStore.of(vectors, keys, recall=0.99),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())


@every_kind
def test_at_max_effort_a_search_is_exact(make: Make) -> None:
    store, queries = make(VECTORS, KEYS), unit(40, seed=1)
    scores, keys = store.search(queries, 10, effort=store.max_effort)
    expected, names = Dictionary(VECTORS, KEYS).search(queries, 10)
    assert (keys == names).all()
    assert np.allclose(scores, expected, atol=1e-6)


@every_kind
def test_only_allowed_keys_are_found_and_minus_one_fills_the_rest(make: Make) -> None:
    store = make(VECTORS, KEYS)
    allowed = np.zeros(KEYS[30] + 1, bool)
    allowed[KEYS[[3, 7, 30]]] = True
    _, keys = store.search(VECTORS[:5], 5, allowed, store.max_effort)
    assert all(set(row) == {9, 21, 90, -1} for row in keys.tolist())
    assert (keys[:, 3:] == -1).all()


@every_kind
def test_putting_a_key_again_replaces_its_vector(make: Make) -> None:
    store, new = make(VECTORS, KEYS), unit(5, seed=2)
    for _ in range(3):
        store.put(new, KEYS[:5])
    assert len(store) == SIZE
    assert np.array_equal(store.get(KEYS[:5]), new)
    found = store.search(new, SIZE, effort=store.max_effort)[1]
    assert all(sorted(row) == KEYS.tolist() for row in found.tolist())


@every_kind
def test_a_removed_key_is_never_found_and_can_be_put_again(make: Make) -> None:
    store = make(VECTORS, KEYS)
    store.remove(np.concatenate([KEYS[:100], [10**12]]))
    assert len(store) == SIZE - 100
    assert not set(store.search(VECTORS[:100], 50)[1].ravel().tolist()) & set(KEYS[:100].tolist())
    store.put(VECTORS[:100], KEYS[:100])
    assert (store.search(VECTORS[:100], 1)[1].ravel() == KEYS[:100]).all()


@every_kind
def test_an_empty_store_finds_nothing(make: Make) -> None:
    store = make(VECTORS, KEYS)
    store.remove(KEYS)
    assert len(store) == 0
    assert (store.search(VECTORS[:2], 3)[1] == -1).all()


@every_kind
@limits(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True),
            st.integers(0, 99),
        ),
        max_size=12,
    )
)
def test_any_history_leaves_the_contents_of_a_dictionary(
    make: Make, steps: list[tuple[bool, list[int], int]]
) -> None:
    store, model = make(VECTORS[:20], np.arange(20)), Dictionary(VECTORS[:20], np.arange(20))
    for put, numbers, seed in steps:
        keys = np.array(numbers, np.int64)
        for one in (store, model):
            one.put(unit(len(keys), seed=100 + seed), keys) if put else one.remove(keys)
    assert len(store) == len(model)
    keys = np.array(sorted(model._of), np.int64)
    assert np.array_equal(store.get(keys), model.get(keys).reshape(len(keys), DIMENSIONS))
    if len(model):
        found = store.search(unit(3, seed=7), len(model), effort=store.max_effort)[1]
        assert all(sorted(row) == keys.tolist() for row in found.tolist())


@pytest.mark.parametrize("exact_below", [SIZE + 1, SIZE], ids=["exact", "inverted lists"])
def test_a_mapped_file_can_be_searched_but_not_changed(exact_below: int, tmp_path: Path) -> None:
    store, path = create(VECTORS, KEYS, exact_below, 0.99), tmp_path / "vectors"
    store.put(unit(4, seed=3), np.array([3, 10_000, 10_001, 10_002]))
    store.write(path)
    mapped, loaded = read(path, writable=False), read(path, writable=True)
    everything = np.array([*KEYS, 10_000, 10_001, 10_002])
    for opened in (mapped, loaded):
        assert type(opened) is type(store) is (FlatStore if exact_below > SIZE else IVFStore)
        assert np.array_equal(opened.get(everything), store.get(everything))
        scores, keys = opened.search(VECTORS, 10)
        expected, names = store.search(VECTORS, 10)
        assert np.array_equal(scores, expected)
        assert np.array_equal(keys, names)
    with pytest.raises(RecsimError, match="opened for search"):
        mapped.put(VECTORS[:1], KEYS[:1])
    loaded.remove(KEYS)
    assert len(loaded) == 3


def test_the_number_of_probes_follows_the_requested_recall() -> None:
    vectors, queries = unit(4_000, seed=4), unit(200, seed=5)
    exact = FlatStore.of(vectors, np.arange(4_000)).search(queries, 10)[1]
    found = {}
    for recall in (0.5, 0.9, 0.99):
        store = IVFStore.of(vectors, np.arange(4_000), recall)
        assert recall <= store.built_recall <= 1
        found[recall] = np.mean(
            [len(set(a) & set(b)) / 10 for a, b in zip(store.search(queries, 10)[1], exact, strict=True)]
        )
        assert found[recall] >= recall - 0.1  # these queries are not its own vectors
    assert found[0.5] < found[0.9] < found[0.99]


def test_imbalance_grows_when_many_vectors_fall_into_one_list() -> None:
    store = IVFStore.of(VECTORS, KEYS, 0.9)
    before = store.imbalance
    crowd = np.repeat(VECTORS[:1], 400, axis=0)
    store.put(crowd, 10_000 + np.arange(400))
    assert 1 <= before < store.imbalance / 2
