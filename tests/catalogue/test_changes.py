from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from recsim_tasks.catalogue.changes import RangeLostError, _ends, _net, count_kinds, net_changes
from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.catalogue.table import PRODUCT_FIELDS, head
from recsim_tasks.foundation.errors import UnavailableError

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("product_id", "title", "category")),
        ("price", pa.float64()),
        ("in_stock", pa.bool_()),
        ("image_hash", pa.string()),
    ]
)


def product(name: str, image: str = "i", price: float = 1.0) -> dict[str, object]:
    return {"product_id": name, "title": "t", "category": "c", "price": price, "in_stock": True, "image_hash": image}


def table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    where = str(tmp_path / "products")
    write_deltalake(
        where,
        table(product("kept"), product("priced"), product("pictured"), product("gone")),
        configuration={"delta.enableChangeDataFeed": "true"},
    )
    return where


def merge(uri: str, *rows: dict[str, object]) -> None:
    merging = DeltaTable(uri).merge(table(*rows), "s.product_id = t.product_id", source_alias="s", target_alias="t")
    merging.when_matched_update_all().when_not_matched_insert_all().execute()


def at_head(uri: str) -> Cursor:
    cursor = head(uri)
    assert cursor is not None
    return cursor


def test_several_commits_are_netted_to_one_change_a_product(uri: str) -> None:
    start = at_head(uri)
    merge(uri, product("priced", price=2.0), product("pictured", image="j"), product("new"), product("passing"))
    merge(uri, product("priced", price=3.0), product("new", price=7.0))
    DeltaTable(uri).delete("product_id in ('gone', 'passing')")
    changes = net_changes(uri, start, at_head(uri))
    assert dict(zip(changes["product_id"].to_pylist(), changes["kind"].to_pylist(), strict=True)) == {
        "gone": "delete",
        "new": "insert",
        "pictured": "replace",
        "priced": "update",
    }
    assert {row["product_id"]: row["price"] for row in changes.to_pylist()}["priced"] == 3.0
    assert count_kinds(changes) == {"insert": 1, "replace": 1, "update": 1, "delete": 1}


def test_what_was_changed_back_is_no_change(uri: str) -> None:
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


def test_a_feed_that_is_off_is_a_lost_range(tmp_path: Path) -> None:
    uri = str(tmp_path / "off")
    write_deltalake(uri, table(product("a")))
    start = at_head(uri)
    write_deltalake(uri, table(product("b")), mode="append")
    with pytest.raises(RangeLostError, match="is off"):
        net_changes(uri, start, at_head(uri))


def test_a_vacuumed_feed_is_a_lost_range_not_a_partial_answer(uri: str) -> None:
    start = at_head(uri)
    merge(uri, product("priced", price=2.0))
    DeltaTable(uri).delete("product_id = 'priced'")
    for file in Path(uri, "_change_data").glob("*.parquet"):
        file.unlink()
    with pytest.raises(RangeLostError, match="cannot be read"):
        net_changes(uri, start, at_head(uri))


def test_a_table_created_anew_is_not_taken_for_the_old_one(uri: str) -> None:
    with pytest.raises(UnavailableError, match="created anew"):
        net_changes(uri, Cursor("other", 0), Cursor("other", 0))


def test_no_table_has_no_head(tmp_path: Path) -> None:
    assert head(str(tmp_path / "nothing")) is None


States = st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from("xy"), st.sampled_from([1.0, 2.0])), max_size=3)


def commit(version: int, before: dict[str, tuple[str, float]], after: dict[str, tuple[str, float]]) -> list[dict[str, object]]:
    """The rows that a change feed holds for the step from one state of the catalogue to the next."""

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
def test_net_changes_lead_from_the_first_state_to_the_last(states: list[dict[str, tuple[str, float]]]) -> None:
    rows = [row for version in range(1, len(states)) for row in commit(version, states[version - 1], states[version])]
    schema = SCHEMA.append(pa.field("_change_type", pa.string())).append(pa.field("_commit_version", pa.int64()))
    first, last = states[0], states[-1]
    now = dict(first)
    for change in _net(*_ends(pa.Table.from_pylist(rows, schema=schema))).to_pylist():
        name, kind = change["product_id"], change["kind"]
        assert (name in first) == (kind != "insert")
        if kind == "delete":
            del now[name]
        else:
            assert (kind == "replace") == (name in first and first[name][0] != change["image_hash"])
            now[name] = (change["image_hash"], change["price"])
    assert now == last
    assert set(PRODUCT_FIELDS) <= set(schema.names)
