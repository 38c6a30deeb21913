"""One contract for every kind of index, with a dictionary and an exact search as the reference."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from recsim_tasks.arrays import Float32Array
from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError
from recsim_tasks.vectors.brute_force import exact_neighbours
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.product_table import with_thumbnails
from recsim_tasks.vectors.thumbnails import THUMBNAIL_BYTES
from vectors.reference import ORIGIN, products, unit

SIZE = 600
EXACT, INVERTED_LISTS = SIZE * 10, 1
both_kinds = pytest.mark.parametrize("exact_below", [EXACT, INVERTED_LISTS], ids=["exact", "inverted lists"])
NAMES = [f"p-{n}" for n in range(SIZE)]
VECTORS = unit(SIZE)


def fresh(exact_below: int) -> Index:
    return Index.build(
        products(NAMES),
        VECTORS,
        ORIGIN,
        exact_below,
    )


@both_kinds
def test_a_product_finds_itself_first_then_what_an_exact_search_finds(exact_below: int) -> None:
    index = fresh(exact_below)
    answers = index.search(VECTORS[:50], 10)
    assert [hits[0].product_id for hits in answers] == NAMES[:50]
    rows, _ = exact_neighbours(VECTORS, VECTORS[:50], 10)
    found = [
        len({hit.product_id for hit in hits} & {NAMES[row] for row in near}) / 10
        for hits, near in zip(answers, rows, strict=True)
    ]
    assert np.mean(found) >= (1.0 if index.exact else 0.9)
    assert index.exact == (exact_below == EXACT)


@both_kinds
def test_search_sees_added_replaced_updated_and_removed_products(exact_below: int) -> None:
    index = fresh(exact_below)
    new = unit(3, seed=1)
    index.upsert(products(["p-900", "p-5", "p-901"]), new)
    index.update(products(["p-7"], price=3.5))
    assert index.remove(["p-9", "unknown"]) == 1
    assert len(index) == SIZE + 1
    assert [hits[0].product_id for hits in index.search(new, 1)] == ["p-900", "p-5", "p-901"]
    assert index.search(VECTORS[5:6], 1)[0][0].product_id != "p-5"
    assert "p-9" not in {hit.product_id for hit in index.search(VECTORS[9:10], 50)[0]}
    assert index.product("p-7")["price"] == 3.5
    assert np.array_equal(index.vector("p-7"), VECTORS[7])
    with pytest.raises(InputError, match="'p-9' is not in this release"):
        index.vector("p-9")


@both_kinds
def test_a_filter_gives_k_products_or_all_that_match_if_fewer(exact_below: int) -> None:
    index = fresh(exact_below)
    filters = Filters(categories=("c1",), min_price=10, max_price=13, in_stock=True, exclude=("p-13",))
    matching = {n for n in range(SIZE) if n % 4 == 1 and 10 <= n % 50 <= 13 and n % 3 > 0 and n != 13}
    for k in (3, SIZE):
        hits = index.search(VECTORS[:1], k, filters)[0]
        assert len(hits) == min(k, len(matching))
        assert {hit.product_id for hit in hits} <= {f"p-{n}" for n in matching}
    assert index.search(VECTORS[:2], 3, Filters(categories=("nothing",))) == [[], []]


@both_kinds
def test_ties_are_broken_by_product_id(exact_below: int) -> None:
    twins = np.repeat(unit(1, seed=2), 5, axis=0)
    index = fresh(exact_below)
    index.upsert(products([f"p-{n}" for n in (905, 901, 904, 902, 903)]), twins)
    assert [hit.product_id for hit in index.search(twins[:1], 5)[0]] == [f"p-{n}" for n in range(901, 906)]


@both_kinds
def test_a_saved_index_is_opened_with_the_same_contents(exact_below: int, tmp_path: Path) -> None:
    index = fresh(exact_below)
    index.upsert(products(["p-900"]), unit(1, seed=1))
    fingerprint = index.save(tmp_path / "index")
    again = Index.open(tmp_path / "index")
    assert again.products.equals(index.products)
    assert np.array_equal(again.all_vectors()[1], index.all_vectors()[1])
    assert again.metadata.index_fingerprint == fingerprint
    assert (again.exact, again.search(VECTORS[:5], 4)) == (index.exact, index.search(VECTORS[:5], 4))
    with pytest.raises(RecsimError, match="opened for search"):
        again.remove(["p-1"])
    other = Index.open(tmp_path / "index", writable=True)
    other.remove(["p-1"])
    assert (len(other), len(Index.open(tmp_path / "index"))) == (SIZE, SIZE + 1)


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no readable index"):
        Index.open(tmp_path)


def test_an_index_that_cannot_be_read_for_lack_of_file_descriptors_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many_files(path: Path) -> object:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr("recsim_tasks.vectors.index.read_json", too_many_files)
    with pytest.raises(UnavailableError, match="No file descriptors are left"):
        Index.open(tmp_path)


@both_kinds
@pytest.mark.parametrize("k", [1, 2, 3, 7, 20])
def test_which_of_many_equal_products_are_returned_depends_on_their_ids_alone(
    exact_below: int, k: int
) -> None:
    """However they were added: one by one, in another order, or after others were removed."""
    names = [f"p-{n}" for n in range(900, 960)]
    twins = np.repeat(unit(1, seed=2), len(names), axis=0)
    one, other = fresh(exact_below), fresh(exact_below)
    one.upsert(products(names), twins)
    other.remove(NAMES[100:200])
    for name in reversed(names):
        other.upsert(products([name]), twins[:1])
    for index in (one, other):
        assert [hit.product_id for hit in index.search(twins[:1], k)[0]] == names[:k]


@both_kinds
def test_scores_are_bitwise_equal_however_the_index_was_made(exact_below: int) -> None:
    index, rebuilt = fresh(exact_below), fresh(exact_below)
    for start in range(0, SIZE, 7):
        index.upsert(products(NAMES[start : start + 1]), VECTORS[start : start + 1])
    queries = unit(64, seed=3)
    alone = [rebuilt.search(query[None], 10)[0] for query in queries]
    assert index.search(queries, 10) == rebuilt.search(queries, 10) == alone


@both_kinds
def test_distinct_keeps_one_of_the_copies_of_an_image_and_all_other_products(exact_below: int) -> None:
    index, query = fresh(exact_below), unit(1, seed=2)
    noise = np.random.default_rng(0).normal(0, 1e-4, (100, 16)).astype(np.float32)
    near = (query + noise) / np.linalg.norm(query + noise, axis=1, keepdims=True)
    looks = np.random.default_rng(1).integers(10, 240, (50, THUMBNAIL_BYTES)).astype(np.uint8)
    thumbnails = np.concatenate(
        [looks[:1] + np.random.default_rng(2).integers(0, 3, (50, THUMBNAIL_BYTES)).astype(np.uint8), looks]
    )
    names = [
        f"p-{n}" for n in range(900, 1000)
    ]  # fifty copies of one image, then fifty different ones, the first of which is a copy too
    index.upsert(with_thumbnails(products(names), thumbnails), near)
    plain, distinct = index.search(query, 60)[0], index.search(query, 60, distinct=True)[0]
    assert len(distinct) == 60
    assert distinct[0] == plain[0]
    copies = {f"p-{n}" for n in range(900, 951)}
    assert len(copies & {hit.product_id for hit in distinct}) == 1
    first = next(hit for hit in plain if hit.product_id in copies)
    assert (
        distinct
        == [hit for hit in index.search(query, 200)[0] if hit == first or hit.product_id not in copies][:60]
    )


@both_kinds
def test_thumbnails_survive_updates_and_saving_and_are_removed_with_their_product(
    exact_below: int, tmp_path: Path
) -> None:
    looks = np.random.default_rng(1).integers(1, 250, (SIZE, THUMBNAIL_BYTES)).astype(np.uint8)
    index = Index.build(with_thumbnails(products(NAMES), looks), VECTORS, ORIGIN, exact_below)
    index.update(products(["p-5", "p-7"], price=9.0))
    index.upsert(with_thumbnails(products(["p-8", "p-900"]), looks[:2]), VECTORS[8:10])
    index.upsert(products(["p-9"]), VECTORS[9:10])
    index.remove(["p-0"])
    index.save(tmp_path / "index")
    again = Index.open(tmp_path / "index")
    expected = {name: looks[n] for n, name in enumerate(NAMES)} | {
        "p-8": looks[0],
        "p-900": looks[1],
        "p-9": looks[0] * 0,
    }
    ids = again.products["product_id"].to_pylist()
    assert set(ids) == expected.keys() - {"p-0"}
    assert np.array_equal(
        again.thumbnails_at(np.arange(len(ids))), np.stack([expected[name] for name in ids])
    )


@both_kinds
@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_neighbour_is_refused(exact_below: int, k: int) -> None:
    with pytest.raises(InputError, match=f"k is {k}"):
        fresh(exact_below).search(VECTORS[:1], k)


def test_a_k_above_the_number_of_products_returns_all_products() -> None:
    for exact_below in (EXACT, INVERTED_LISTS):
        hits = fresh(exact_below).search(VECTORS[:1], SIZE + 50)[0]
        assert sorted(hit.product_id for hit in hits) == sorted(NAMES)


BAD_VECTORS = {
    "another size": (unit(2, dimensions=8), r"Expected vectors of shape \(2, 16\), got \(2, 8\)"),
    "fewer": (unit(1), r"got \(1, 16\)"),
    "one alone": (unit(1)[0], r"got \(16,\)"),
    "not a number": (np.array([[np.nan] * 16, *unit(1)], np.float32), "1 of 2 vectors are not finite"),
    "infinite": (np.array([*unit(1), [np.inf] * 16], np.float32), "first in row 1"),
    "zero": (np.zeros((2, 16), np.float32), "2 of 2 vectors"),
    "not of unit length": (unit(2) * np.float32(1.01), "2 of 2 vectors"),
}


@pytest.mark.parametrize(("vectors", "why"), BAD_VECTORS.values(), ids=BAD_VECTORS.keys())
def test_vectors_without_a_cosine_are_refused_and_leave_the_index_unchanged(
    vectors: Float32Array, why: str
) -> None:
    index = fresh(EXACT)
    with pytest.raises(InputError, match=why):
        index.upsert(products(["p-1", "p-900"]), vectors)
    assert (len(index), index.metadata.churn) == (SIZE, 0)
    assert np.array_equal(index.vector("p-1"), VECTORS[1])


@pytest.mark.parametrize("names", [["p-1", "p-1"], [None, "p-1"]], ids=["twice", "without an id"])
def test_repeated_and_missing_product_ids_are_refused(names: list[str | None]) -> None:
    table = products(["p-1", "p-2"]).set_column(0, "product_id", [pa.array(names, pa.string())])
    with pytest.raises(InputError, match="Pass each product once"):
        fresh(EXACT).upsert(table, unit(2))


@pytest.mark.parametrize(
    "query",
    [unit(1, dimensions=8), unit(1)[0], np.full((1, 16), np.nan, np.float32)],
    ids=["size", "shape", "nan"],
)
def test_a_query_of_another_shape_or_not_finite_is_refused(query: Float32Array) -> None:
    with pytest.raises(InputError, match="query"):
        fresh(EXACT).search(query, 3)


@both_kinds
def test_any_text_is_a_valid_product_id(exact_below: int) -> None:
    odd = [
        "",
        " ",
        "'; DROP TABLE products; --",
        "../../etc/passwd",
        "日本",
        "a\u0000b",
        "é",
        "e\u0301",
        "p-1 ",
    ]
    table = products(["p-900"] * len(odd)).set_column(0, "product_id", [pa.array(odd)])
    index, vectors = fresh(exact_below), unit(len(odd), seed=9)
    index.upsert(table, vectors)
    assert [hits[0].product_id for hits in index.search(vectors, 1)] == odd
    assert all(np.array_equal(index.vector(name), vector) for name, vector in zip(odd, vectors, strict=True))
    assert index.remove(odd) == len(odd)


@both_kinds
def test_an_empty_index_returns_no_neighbours(exact_below: int) -> None:
    index = fresh(exact_below)
    index.remove(NAMES)
    assert (len(index), index.search(VECTORS[:2], 5)) == (0, [[], []])


Steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "update"]),
        st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True),
    ),
    max_size=12,
)


@limits(max_examples=40, deadline=None)
@given(Steps, st.sampled_from([EXACT, INVERTED_LISTS]))
def test_any_history_leaves_one_vector_per_product(
    steps: list[tuple[str, list[int]]], exact_below: int
) -> None:
    start = 20
    index = Index.build(products(NAMES[:start]), VECTORS[:start], ORIGIN, exact_below)
    model = {name: VECTORS[row] for row, name in enumerate(NAMES[:start])}
    for seed, (step, numbers) in enumerate(steps):
        names = [f"p-{n}" for n in numbers]
        if step == "put":
            vectors = unit(len(names), seed=100 + seed)
            index.upsert(products(names), vectors)
            model |= dict(zip(names, vectors, strict=True))
        elif step == "remove":
            assert index.remove(names) == len(set(names) & model.keys())
            model = {name: vector for name, vector in model.items() if name not in names}
        elif known := [name for name in names if name in model]:
            index.update(products(known, price=9.0))
    ids, vectors = index.all_vectors()
    assert sorted(ids) == sorted(model)
    assert all(np.array_equal(vector, model[name]) for name, vector in zip(ids, vectors, strict=True))
    found = [hit.product_id for hit in index.search(unit(1, seed=7), 100)[0]]
    assert len(found) == len(set(found))
    assert set(found) <= model.keys()
    if index.exact:
        assert set(found) == model.keys()
