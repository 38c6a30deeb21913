"""One contract for every kind of index, with a dictionary and an exact search as the reference."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.vectors.exact import exact_neighbours
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.index import Index

SIZE, DIMENSIONS = 600, 16
EXACT, INVERTED_LISTS = SIZE * 10, 1
both_kinds = pytest.mark.parametrize("exact_below", [EXACT, INVERTED_LISTS], ids=["exact", "inverted lists"])


def unit(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def products(names: list[str], price: float | None = None) -> pa.Table:
    numbers = [int(name.strip("p-")) for name in names]
    columns = {
        "product_id": names,
        "title": [f"title {name}" for name in names],
        "category": [f"c{n % 4}" for n in numbers],
        "price": [float(n % 50) if price is None else price for n in numbers],
        "in_stock": [n % 3 > 0 for n in numbers],
        "image_hash": [f"hash {name}" for name in names],
    }
    return pa.table(columns)


NAMES = [f"p-{n}" for n in range(SIZE)]
VECTORS = unit(SIZE)


def fresh(exact_below: int) -> Index:
    return Index.build(products(NAMES), VECTORS, {"model_fingerprint": "m", "cursor": {"table_id": "t", "version": 1}}, exact_below)


@both_kinds
def test_a_product_finds_itself_first_and_then_what_an_exact_search_finds(exact_below: int) -> None:
    index = fresh(exact_below)
    answers = index.search(VECTORS[:50], 10)
    assert [hits[0].product_id for hits in answers] == NAMES[:50]
    rows, _ = exact_neighbours(VECTORS, VECTORS[:50], 10)
    found = [len({hit.product_id for hit in hits} & {NAMES[row] for row in near}) / 10 for hits, near in zip(answers, rows, strict=True)]
    assert np.mean(found) >= (1.0 if index.exact else 0.9)
    assert index.exact == (exact_below == EXACT)


@both_kinds
def test_added_replaced_updated_and_removed_products_are_found_as_they_are_now(exact_below: int) -> None:
    index = fresh(exact_below)
    new = unit(3, seed=1)
    index.upsert(products(["p-900", "p-5", "p-901"]), new)
    index.update(products(["p-7"], price=3.5))
    assert index.remove(["p-9", "nobody"]) == 1
    assert len(index) == SIZE + 1
    assert [hits[0].product_id for hits in index.search(new, 1)] == ["p-900", "p-5", "p-901"]
    assert index.search(VECTORS[5:6], 1)[0][0].product_id != "p-5"
    assert "p-9" not in {hit.product_id for hit in index.search(VECTORS[9:10], 50)[0]}
    assert index.product("p-7")["price"] == 3.5
    assert np.array_equal(index.vector("p-7"), VECTORS[7])
    with pytest.raises(InputError, match="'p-9' is not in this release"):
        index.vector("p-9")


@both_kinds
def test_a_filter_gives_exactly_k_when_k_pass_and_all_when_fewer_do(exact_below: int) -> None:
    index = fresh(exact_below)
    filters = Filters(categories=("c1",), min_price=10, max_price=13, in_stock=True, exclude=("p-13",))
    passing = {n for n in range(SIZE) if n % 4 == 1 and 10 <= n % 50 <= 13 and n % 3 > 0 and n != 13}
    for k in (3, SIZE):
        hits = index.search(VECTORS[:1], k, filters)[0]
        assert len(hits) == min(k, len(passing))
        assert {hit.product_id for hit in hits} <= {f"p-{n}" for n in passing}
    assert index.search(VECTORS[:2], 3, Filters(categories=("nothing",))) == [[], []]


@both_kinds
def test_equal_scores_come_in_the_order_of_the_ids(exact_below: int) -> None:
    twins = np.repeat(unit(1, seed=2), 5, axis=0)
    index = fresh(exact_below)
    index.upsert(products([f"p-{n}" for n in (905, 901, 904, 902, 903)]), twins)
    assert [hit.product_id for hit in index.search(twins[:1], 5)[0]] == [f"p-{n}" for n in range(901, 906)]


@both_kinds
def test_a_published_index_is_read_back_whole_and_a_changed_byte_is_refused(exact_below: int, tmp_path: Path) -> None:
    index = fresh(exact_below)
    index.upsert(products(["p-900"]), unit(1, seed=1))
    fingerprint = index.save(tmp_path / "index")
    again = Index.open(tmp_path / "index")
    assert again.items.equals(index.items)
    assert np.array_equal(again.all_vectors()[1], index.all_vectors()[1])
    assert again.metadata["index_fingerprint"] == fingerprint
    assert (again.exact, again.search(VECTORS[:5], 4)) == (index.exact, index.search(VECTORS[:5], 4))
    for name in ("vectors.faiss", "items.parquet"):
        data = bytearray((tmp_path / "index" / name).read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / "index" / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            Index.open(tmp_path / "index")


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no index"):
        Index.open(tmp_path)


@both_kinds
def test_an_empty_index_answers_nothing(exact_below: int) -> None:
    index = fresh(exact_below)
    index.remove(NAMES)
    assert (len(index), index.search(VECTORS[:2], 5)) == (0, [[], []])


Steps = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "update"]), st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True)), max_size=12
)


@limits(max_examples=40, deadline=None)
@given(Steps, st.sampled_from([EXACT, INVERTED_LISTS]))
def test_any_history_leaves_one_live_vector_a_product(steps: list[tuple[str, list[int]]], exact_below: int) -> None:
    start = 20
    index = Index.build(products(NAMES[:start]), VECTORS[:start], {}, exact_below)
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


PUBLISH = """
import sys, time
from pathlib import Path
from recsim_tasks.vectors.index import Index
folder = Path(sys.argv[1])
index = Index.open(folder)
print("ready", flush=True)
while True:
    index.update(index.items.slice(0, 1).drop(["row_key"]))
    index.save(folder)
"""


def test_a_publisher_killed_at_any_moment_leaves_a_whole_index(tmp_path: Path) -> None:
    fresh(EXACT).save(tmp_path / "index")
    for wait in np.random.default_rng(0).uniform(0, 0.1, 5):
        process = subprocess.Popen([sys.executable, "-c", PUBLISH, str(tmp_path / "index")], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        ids, vectors = Index.open(tmp_path / "index").all_vectors()
        assert ids == NAMES
        assert np.array_equal(vectors, VECTORS)
