from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from recsim_tasks.catalogue.delta.net_changes import _first_and_last_states, compare, count_kinds, net_changes
from recsim_tasks.catalogue.delta.reader import head, read_products
from recsim_tasks.catalogue.schema import INDEXED, arrow_schema, select_types
from recsim_tasks.contracts import Cursor

SCHEMA = arrow_schema(select_types(INDEXED))


def product(name: str, image: str = "i", price: float = 1.0) -> dict[str, object]:
    return {
        "product_id": name,
        "title": "t",
        "category": "c",
        "price": price,
        "in_stock": True,
        "image_hash": image,
    }


def table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    where = str(tmp_path / "products")
    write_deltalake(
        where,
        table(product("kept"), product("priced"), product("illustrated"), product("gone")),
        configuration={"delta.enableChangeDataFeed": "true"},
    )
    return where


def merge(uri: str, *rows: dict[str, object]) -> None:
    merging = DeltaTable(uri).merge(
        table(*rows), "s.product_id = t.product_id", source_alias="s", target_alias="t"
    )
    merging.when_matched_update_all().when_not_matched_insert_all().execute()


def at_head(uri: str) -> Cursor:
    cursor = head(uri)
    assert cursor is not None
    return cursor


def test_several_commits_give_one_net_change_a_product(uri: str) -> None:
    start = at_head(uri)
    merge(
        uri,
        product("priced", price=2.0),
        product("illustrated", image="j"),
        product("new"),
        product("passing"),
    )
    merge(uri, product("priced", price=3.0), product("new", price=7.0))
    DeltaTable(uri).delete("product_id in ('gone', 'passing')")
    changes = net_changes(uri, start, at_head(uri))
    assert dict(zip(changes["product_id"].to_pylist(), changes["kind"].to_pylist(), strict=True)) == {
        "gone": "delete",
        "new": "insert",
        "illustrated": "replace",
        "priced": "update",
    }
    assert {row["product_id"]: row["price"] for row in changes.to_pylist()}["priced"] == 3.0
    assert count_kinds(changes) == {"insert": 1, "replace": 1, "update": 1, "delete": 1}


def test_a_change_that_was_reverted_is_no_net_change(uri: str) -> None:
    start = at_head(uri)
    merge(uri, product("priced", price=2.0))
    merge(uri, product("priced"))
    DeltaTable(uri).delete("product_id = 'gone'")
    merge(uri, product("gone"))
    assert len(net_changes(uri, start, at_head(uri))) == 0


def test_a_compaction_is_a_version_without_a_change(uri: str) -> None:
    merge(uri, product("new"))
    start = at_head(uri)
    DeltaTable(uri).optimize.compact()
    assert at_head(uri).version > start.version
    assert len(net_changes(uri, start, at_head(uri))) == 0


def test_overwriting_a_table_with_the_same_rows_is_no_net_change(uri: str) -> None:
    start, rows = at_head(uri), read_products(uri, at_head(uri), list(INDEXED))
    write_deltalake(uri, rows, mode="overwrite")
    assert len(net_changes(uri, start, at_head(uri))) == 0
    write_deltalake(uri, rows.slice(1), mode="overwrite")
    assert count_kinds(net_changes(uri, start, at_head(uri))) == {
        "insert": 0,
        "replace": 0,
        "update": 0,
        "delete": 1,
    }


def test_a_restore_counts_like_any_other_commit(uri: str) -> None:
    merge(uri, product("priced", price=2.0), product("new"))
    start = at_head(uri)
    DeltaTable(uri).restore(0)
    changes = net_changes(uri, start, at_head(uri))
    assert dict(zip(changes["product_id"].to_pylist(), changes["kind"].to_pylist(), strict=True)) == {
        "new": "delete",
        "priced": "update",
    }


def test_a_column_that_is_added_within_the_range_changes_no_product(uri: str) -> None:
    start = at_head(uri)
    wider = table(product("new")).append_column("colour", pa.array(["red"]))
    write_deltalake(uri, wider, mode="append", schema_mode="merge")
    DeltaTable(uri).update({"price": "5.0"}, predicate="product_id = 'priced'")
    assert count_kinds(net_changes(uri, start, at_head(uri))) == {
        "insert": 1,
        "replace": 0,
        "update": 1,
        "delete": 0,
    }


def test_null_equals_only_null(uri: str) -> None:
    before = table(product("a") | {"title": None}, product("b") | {"title": None}, product("c"))
    after = table(product("a") | {"title": None}, product("b"), product("c") | {"title": None})
    assert compare(before, after)["product_id"].to_pylist() == ["b", "c"]


def test_versions_order_commits_not_their_times(uri: str) -> None:
    start = at_head(uri)
    merge(uri, product("new"))
    DeltaTable(uri).delete("product_id = 'gone'")
    merge(uri, product("new", price=3.0))
    for version, day in ((1, 400), (2, -400), (3, 0)):
        shift_clock(Path(uri, "_delta_log", f"{version:020d}.json"), day)
    changes = net_changes(uri, start, at_head(uri))
    assert changes.select(["product_id", "kind", "price"]).to_pylist() == [
        {"product_id": "gone", "kind": "delete", "price": 1.0},
        {"product_id": "new", "kind": "insert", "price": 3.0},
    ]


def test_images_are_not_read(tmp_path: Path) -> None:
    where, images = (
        str(tmp_path / "illustrated"),
        pa.array([os.urandom(1 << 16) for _ in range(400)], pa.binary()),
    )
    rows = table(*(product(f"p{number}") for number in range(400)))
    write_deltalake(
        where,
        rows.slice(0, 0).append_column("image", images.slice(0, 0)),
        configuration={"delta.enableChangeDataFeed": "true"},
    )
    write_deltalake(where, rows.append_column("image", images), mode="append")
    DeltaTable(where).update({"price": "2.0"}, predicate="product_id < 'p2'")
    read = bytes_read()
    assert (
        count_kinds(net_changes(where, Cursor(at_head(where).table_id, 0), at_head(where)))["insert"] == 400
    )
    assert bytes_read() - read < 4 << 20 < 25 << 20


def test_net_changes_of_a_million_rows_take_seconds() -> None:
    count = 1_000_000
    numbers = np.arange(count)
    ids = pa.array(np.char.add("p", (numbers % (count // 2)).astype(str)))
    constant = pa.array(["t"]).take(pa.array(np.zeros(count, np.int64)))
    columns = {"product_id": ids, "title": constant, "category": constant, "price": pa.array(numbers * 1.0)}
    columns |= {
        "in_stock": pa.array(numbers % 2 == 0),
        "image_hash": constant,
        "_commit_version": pa.array(numbers // (count // 2)),
    }
    kinds = pa.array(["insert", "update_postimage"]).take(pa.array(numbers // (count // 2)))
    began = time.monotonic()
    changes = compare(*_first_and_last_states(pa.table({**columns, "_change_type": kinds})))
    assert time.monotonic() - began < 20
    assert count_kinds(changes)["insert"] == len(changes) == count // 2
    assert changes["price"].to_numpy().min() == count // 2


def shift_clock(commit: Path, days: int) -> None:
    """Change a commit as if its writer's clock had been `days` off."""
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] += days * 86_400_000
    commit.write_text("\n".join(map(json.dumps, actions)))
    os.utime(commit, (time.time() + days * 86_400,) * 2)


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_missing_table_has_no_head(tmp_path: Path) -> None:
    assert head(str(tmp_path / "nothing")) is None


States = st.dictionaries(
    st.sampled_from("abc"), st.tuples(st.sampled_from("xy"), st.sampled_from([1.0, 2.0])), max_size=3
)


def commit(
    version: int, before: dict[str, tuple[str, float]], after: dict[str, tuple[str, float]]
) -> list[dict[str, object]]:
    """The rows of a change feed for a step from one state of the catalogue to the next."""

    def row(name: str, state: dict[str, tuple[str, float]], kind: str) -> dict[str, object]:
        return {**product(name, *state[name]), "_change_type": kind, "_commit_version": version}

    rows = [row(name, before, "delete") for name in before.keys() - after.keys()] + [
        row(name, after, "insert") for name in after.keys() - before.keys()
    ]
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            rows += [row(name, after, "update_postimage"), row(name, before, "update_preimage")]
    return rows


@limits(max_examples=300, deadline=None)
@given(st.lists(States, min_size=2, max_size=6))
def test_net_changes_lead_from_the_first_state_to_the_last(
    states: list[dict[str, tuple[str, float]]],
) -> None:
    rows = [
        row
        for version in range(1, len(states))
        for row in commit(version, states[version - 1], states[version])
    ]
    schema = SCHEMA.append(pa.field("_change_type", pa.string())).append(
        pa.field("_commit_version", pa.int64())
    )
    first, last = states[0], states[-1]
    now = dict(first)
    for change in compare(*_first_and_last_states(pa.Table.from_pylist(rows, schema=schema))).to_pylist():
        name, kind = change["product_id"], change["kind"]
        assert (name in first) == (kind != "insert")
        if kind == "delete":
            del now[name]
        else:
            assert (kind == "replace") == (name in first and first[name][0] != change["image_hash"])
            now[name] = (change["image_hash"], change["price"])
    assert now == last
    assert set(INDEXED) <= set(schema.names)
