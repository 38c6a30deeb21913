"""Random histories of feeds, and a dictionary that says what the catalogue must hold after each."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PRODUCTS, ROWS, DAYS = 40, 60, 9
BAD = b"no picture"
SCHEMA = pa.schema([("product_id", pa.string()), ("op", pa.string()), ("title", pa.string()), ("image", pa.binary()), ("updated_at", pa.timestamp("us", "UTC"))])  # fmt: skip
Row = dict[str, Any]


def png(seed: int) -> bytes:
    """A picture of noise, another one for each seed."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 6), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [png(seed) for seed in range(4)]


def random_row(chance: random.Random) -> Row:
    """A row that may state, delete, lack a picture, have a bad one, or no date."""
    day = chance.choice([None, *range(1, DAYS + 1)])
    return {
        "product_id": f"p{chance.randrange(PRODUCTS):02d}",
        "op": chance.choices(["upsert", "delete"], [4, 1])[0],
        "title": chance.choice(["one", "two"]),
        "image": chance.choices([*PICTURES, None, BAD], [3, 3, 3, 3, 2, 1])[0],
        "updated_at": None if day is None else datetime(2026, 11, day, tzinfo=UTC),
    }


def random_feed(chance: random.Random) -> tuple[list[Row], bool]:
    """Rows, with products stated twice and more among them, and whether it is a full feed."""
    rows = [random_row(chance) for _ in range(ROWS)]
    return [*rows, *chance.sample(rows, 3)], chance.random() < 0.2


def deliver(folder: Path, feed_id: str, rows: list[Row], full: bool) -> Path:
    """Lay the feed down, its manifest last."""
    feed = folder / feed_id
    feed.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), feed / "products.parquet")
    (feed / "manifest.json").write_text(json.dumps({"feed_id": feed_id, "rows": len(rows), "full": full}))
    return feed


def said(row: Row) -> tuple[Any, ...]:
    """What a row says of its product: rows that say the same count once."""
    return row["op"], row["title"], row["updated_at"], None if row["op"] == "delete" else row["image"]


@dataclass
class Model:
    """What README and docs promise of a feed, row by row, in plain Python."""

    products: dict[str, Row] = field(default_factory=dict)
    deleted_at: dict[str, datetime] = field(default_factory=dict)
    waiting: list[tuple[str, str]] = field(default_factory=list)

    def apply(self, feed_id: str, rows: list[Row], full: bool) -> dict[str, int]:
        """Take the feed in; returns the counts that an ingest must report."""
        counts = dict.fromkeys(("inserted", "updated", "deleted", "unchanged", "outdated", "quarantined"), 0)
        before = {key: dict(row) for key, row in self.products.items()}
        named = {row["product_id"] for row in rows}
        waiting: list[tuple[str, str]] = []
        well: set[str] = set()
        for key in sorted(named):
            for row, done in self._judge([row for row in rows if row["product_id"] == key], before.get(key)):
                counts[done] += 1
                if done == "quarantined":
                    waiting.append((feed_id, key))
                elif done != "outdated":
                    well.add(key)
                    self._take(key, row, done)
        for key in self.products.keys() - named if full else ():
            del self.products[key]
            counts["deleted"] += 1
        self.waiting = [entry for entry in [*self.waiting, *waiting] if entry[1] not in well]
        return counts

    def _judge(self, rows: list[Row], there: Row | None) -> list[tuple[Row, str]]:
        good = [row for row in rows if row["image"] != BAD or row["op"] == "delete"]
        latest = max((row["updated_at"] for row in good if row["updated_at"]), default=None)
        ties = len({said(row) for row in good if row["updated_at"] == latest})
        judged, heard = [], set()
        for row in rows:
            done = self._one(row, row in good, latest, ties, there)
            if row in good and said(row) in heard and done in ("inserted", "updated", "deleted"):
                done = "unchanged"
            heard |= {said(row)} if row in good else set()
            judged.append((row, done))
        return judged

    def _one(self, row: Row, good: bool, latest: datetime | None, ties: int, there: Row | None) -> str:
        known = there["updated_at"] if there else self.deleted_at.get(row["product_id"])
        if not good or (row["updated_at"] == latest and ties > 1):
            return "quarantined"
        if row["updated_at"] != latest or (row["updated_at"] and known and row["updated_at"] < known):
            return "outdated"
        if row["op"] == "delete":
            return "deleted" if there else "unchanged"
        if there is None:
            return "inserted" if row["image"] else "quarantined"
        return (
            "unchanged"
            if row["title"] == there["title"] and row["image"] in (None, there["image"])
            else "updated"
        )

    def _take(self, key: str, row: Row, done: str) -> None:
        if row["op"] == "delete":
            self.products.pop(key, None)
            if row["updated_at"]:
                self.deleted_at[key] = max(row["updated_at"], self.deleted_at.get(key, row["updated_at"]))
        elif done in ("inserted", "updated"):
            old = self.products.get(key, {"image": None, "updated_at": None})
            self.products[key] = {
                "title": row["title"],
                "image": row["image"] or old["image"],
                "updated_at": row["updated_at"] or old["updated_at"],
            }
