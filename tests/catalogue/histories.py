"""Random histories of feeds, and a model in plain Python of the catalogue after each."""

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
BAD = b"no image"
SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("op", pa.string()),
        ("title", pa.string()),
        ("image", pa.binary()),
        ("updated_at", pa.timestamp("us", "UTC")),
    ]
)
Row = dict[str, Any]


def png(seed: int) -> bytes:
    """An image of noise, a different one for each seed."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 6), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [png(seed) for seed in range(4)]


def random_row(chance: random.Random) -> Row:
    """A row that may update, delete, lack an image, have a bad one, or no time."""
    day = chance.choice([None, *range(1, DAYS + 1)])
    return {
        "product_id": f"p{chance.randrange(PRODUCTS):02d}",
        "op": chance.choices(["upsert", "delete"], [4, 1])[0],
        "title": chance.choice(["one", "two"]),
        "image": chance.choices([*IMAGES, None, BAD], [3, 3, 3, 3, 2, 1])[0],
        "updated_at": None if day is None else datetime(2026, 11, day, tzinfo=UTC),
    }


def random_feed(chance: random.Random) -> tuple[list[Row], bool]:
    """Rows, some of them for the same product, and whether it is a full feed."""
    rows = [random_row(chance) for _ in range(ROWS)]
    return [*rows, *chance.sample(rows, 3)], chance.random() < 0.2


def deliver(folder: Path, feed_id: str, rows: list[Row], full: bool) -> Path:
    """Write the feed, its manifest last."""
    feed = folder / feed_id
    feed.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), feed / "products.parquet")
    (feed / "manifest.json").write_text(json.dumps({"feed_id": feed_id, "rows": len(rows), "full": full}))
    return feed


def content(row: Row) -> tuple[Any, ...]:
    """What a row states about its product; rows with equal content count once."""
    return row["op"], row["title"], row["updated_at"], None if row["op"] == "delete" else row["image"]


@dataclass
class Model:
    """The documented effect of a feed, row by row."""

    products: dict[str, Row] = field(default_factory=dict)
    deleted_at: dict[str, datetime] = field(default_factory=dict)
    quarantine: list[tuple[str, str]] = field(default_factory=list)

    def apply(self, feed_id: str, rows: list[Row], full: bool) -> dict[str, int]:
        """Apply the feed; returns the counts that an ingest must report."""
        counts = dict.fromkeys(("inserted", "updated", "deleted", "unchanged", "outdated", "quarantined"), 0)
        before = {key: dict(row) for key, row in self.products.items()}
        named = {row["product_id"] for row in rows}
        invalid: list[tuple[str, str]] = []
        valid: set[str] = set()
        for key in sorted(named):
            for row, effect in self._effects(
                [row for row in rows if row["product_id"] == key], before.get(key)
            ):
                counts[effect] += 1
                if effect == "quarantined":
                    invalid.append((feed_id, key))
                elif effect != "outdated":
                    valid.add(key)
                    self._apply(key, row, effect)
        for key in self.products.keys() - named if full else ():
            del self.products[key]
            counts["deleted"] += 1
        self.quarantine = [entry for entry in [*self.quarantine, *invalid] if entry[1] not in valid]
        return counts

    def _effects(self, rows: list[Row], known: Row | None) -> list[tuple[Row, str]]:
        good = [row for row in rows if row["image"] != BAD or row["op"] == "delete"]
        latest = max((row["updated_at"] for row in good if row["updated_at"]), default=None)
        contents = len({content(row) for row in good if row["updated_at"] == latest})
        effects, seen = [], set()
        for row in rows:
            effect = self._effect(row, known, latest, is_valid=row in good, contradicts=contents > 1)
            if row in good and content(row) in seen and effect in ("inserted", "updated", "deleted"):
                effect = "unchanged"
            seen |= {content(row)} if row in good else set()
            effects.append((row, effect))
        return effects

    def _effect(
        self, row: Row, known: Row | None, latest: datetime | None, *, is_valid: bool, contradicts: bool
    ) -> str:
        known_at = known["updated_at"] if known else self.deleted_at.get(row["product_id"])
        if not is_valid or (row["updated_at"] == latest and contradicts):
            return "quarantined"
        if row["updated_at"] != latest or (row["updated_at"] and known_at and row["updated_at"] < known_at):
            return "outdated"
        if row["op"] == "delete":
            return "deleted" if known else "unchanged"
        if known is None:
            return "inserted" if row["image"] else "quarantined"
        return (
            "unchanged"
            if row["title"] == known["title"] and row["image"] in (None, known["image"])
            else "updated"
        )

    def _apply(self, key: str, row: Row, effect: str) -> None:
        if row["op"] == "delete":
            self.products.pop(key, None)
            if row["updated_at"]:
                self.deleted_at[key] = max(row["updated_at"], self.deleted_at.get(key, row["updated_at"]))
        elif effect in ("inserted", "updated"):
            old = self.products.get(key, {"image": None, "updated_at": None})
            self.products[key] = {
                "title": row["title"],
                "image": row["image"] or old["image"],
                "updated_at": row["updated_at"] or old["updated_at"],
            }
