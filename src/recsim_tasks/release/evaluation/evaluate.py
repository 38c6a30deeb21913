"""How good a release in the making is, measured on its own index, and beside the champion on the same queries at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_tasks.arrays import AnyArray, BoolArray, Float64Array, Int64Array
from recsim_tasks.catalogue.delta.reader import plain
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.preprocessing import decode_all
from recsim_tasks.release.evaluation.queries import FEWEST_QUERIES, Answered, ask, sample_rows
from recsim_tasks.release.evaluation.speed import QueryTimes, query_times
from recsim_tasks.vectors.index import Index

SLICED = ("precision_at_1", "precision_at_10")
# As far as the cosine of a picture's vector and of its stored one may be from 1: another processor rounds otherwise.
SAME = 1e-4


@dataclass(frozen=True)
class Evaluation:
    """What a release answers to products of its own."""

    answered: Answered
    metrics: dict[str, float]
    """Those of `asking.ask`; `built_recall`, the recall of the index when it was built; `imbalance_growth`, how much more unequal its
    lists are since; `query_cpu_p95_ms`. The caller adds `coverage`, see `findable`."""
    times: QueryTimes
    added_since_training: BoolArray | None
    """Which of the products asked for, [q], have a picture that came after the training; None when that is not known."""
    added_now: BoolArray | None
    """Which have one that the champion had not."""

    def as_result(self) -> dict[str, Any]:
        """Give the form in which it is stored: `metrics`; by category (`slices`) `queries`, `precision_at_1` and `precision_at_10`.

        The same of products `added` since the training, or since the champion, and of those `there_before`.
        """
        labels = self.answered.labels
        return {
            "metrics": self.metrics,
            "slices": {name: _slice(self.answered, labels == name) for name in sorted(set(labels.tolist()))},
            "since_training": self._split(self.added_since_training),
            "since_champion": self._split(self.added_now),
        }

    def _split(self, added: BoolArray | None) -> dict[str, dict[str, float]]:
        parts = () if added is None else (("added", added), ("there_before", ~added))
        return {name: _slice(self.answered, mine) for name, mine in parts if mine.any()}


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion, asked for the same products in the same order, and what else tells them apart."""

    challenger: Answered
    champion: Answered
    churn: float
    """Of the products that both have, the share of places in the top tens that another one took: who came or went does not count."""
    lists_changed: float
    """Share of the top tens in which any was taken."""
    same_model: bool


def evaluate(
    index: Index, settings: Settings, trained: set[str] | None = None, champion: Index | None = None
) -> Evaluation:
    """Measure retrieval by category, the index against exact search, and the processor time of a query.

    `trained` are the hashes of the images that the catalogue had when the model was trained, None when they are not known;
    `champion` is the champion's index, if there is a champion.
    """
    answered = ask(index, rows := sample_rows(index, settings.evaluation_queries))
    hashes = _items(index)["image_hash"].take(pa.array(rows)).to_pylist()
    times = query_times(index, champion, settings.gate_max_slowdown)
    metrics = {
        **answered.means(),
        "built_recall": index.metadata.built_recall,
        "imbalance_growth": index.imbalance / index.metadata.built_imbalance,
        "query_cpu_p95_ms": times.own_ms,
    }
    before = set(champion.items["image_hash"].to_pylist()) if champion else None
    return Evaluation(answered, metrics, times, _unknown(hashes, trained), _unknown(hashes, before))


def compare(challenger: Index, champion: Index, settings: Settings) -> Comparison | None:
    """Ask both for the products that both hold with the same category, and picture where these are enough. None when they share too few.

    Each answers from its own vectors, so that releases of different models can be compared, and a change of the sample is no change of quality.
    """
    mine, theirs = _common(challenger, champion)
    if len(mine) < FEWEST_QUERIES:
        return None
    rows = sample_rows(challenger, settings.evaluation_queries, mine)
    asked = [ask(challenger, rows), ask(champion, theirs[np.searchsorted(mine, rows)])]
    changed = _changed(asked[0].nearest, asked[1].nearest, challenger, champion)
    return Comparison(
        challenger=asked[0],
        champion=asked[1],
        churn=float(changed.mean()),
        lists_changed=float((changed > 0).mean()),
        same_model=challenger.metadata.model_fingerprint == champion.metadata.model_fingerprint,
    )


def withdrawn(challenger: Index, champion: Index) -> float:
    """Share of the champion's products that the challenger has no more."""
    there = pc.is_in(_items(champion)["product_id"], value_set=_items(challenger)["product_id"])
    return 1 - (pc.mean(pc.cast(there, pa.float64())).as_py() or 0.0)


def findable(index: Index, embedder: Embedder, pictures: Iterable[pa.Table]) -> float:
    """Share of `pictures` (tables with a column `image` of bytes) that the index, asked for them, answers with a product that looks exactly so; NaN of none."""
    best: list[float] = []
    for part in pictures:
        vectors = embedder.embed(decode_all(part["image"].to_pylist(), embedder.preprocessing))
        best += index.neighbours(vectors, 1).scores[:, 0].tolist()
    return float(np.mean(np.array(best) >= 1 - SAME)) if best else float("nan")


def _common(one: Index, other: Index) -> tuple[Int64Array, Int64Array]:
    """The rows in each, ascending in the first, of the products that both hold with the same category; and picture, where these are enough."""
    mine, theirs = _items(one), _items(other)
    at = pc.index_in(mine["product_id"], value_set=theirs["product_id"])
    rows = np.flatnonzero(pc.is_valid(at).to_numpy(zero_copy_only=False))
    there = pc.drop_null(at).to_numpy().astype(np.int64)

    def same(column: str) -> BoolArray:
        left, right = mine[column].take(pa.array(rows)), theirs[column].take(pa.array(there))
        return np.asarray(pc.fill_null(pc.equal(left, right), False).to_numpy(zero_copy_only=False), bool)

    alike = same("category")
    exactly = alike & same("image_hash")
    kept = exactly if exactly.sum() >= FEWEST_QUERIES else alike
    return rows[kept], there[kept]


def _changed(mine: AnyArray, theirs: AnyArray, challenger: Index, champion: Index) -> Float64Array:
    """Of each top ten the share of places, among products that both releases have, whose product is not in the other's as many."""
    known = {*_there(mine, champion), *_there(theirs, challenger)}
    changed = []
    for one, other in zip(mine.tolist(), theirs.tolist(), strict=True):
        left, right = ([name for name in names if name in known] for names in (one, other))
        depth = min(len(left), len(right))
        changed.append(1 - len(set(left[:depth]) & set(right[:depth])) / depth if depth else 0.0)
    return np.array(changed)


def _there(names: AnyArray, index: Index) -> list[str]:
    distinct = pa.array(sorted(set(names.ravel().tolist())), pa.string())
    return distinct.filter(pc.is_in(distinct, value_set=_items(index)["product_id"])).to_pylist()  # type: ignore[no-any-return]


def _items(index: Index) -> dict[str, pa.Array]:
    """What products are told apart by, as plain columns: an index that was opened from its files has views of them."""
    table = plain(index.items.select(["product_id", "category", "image_hash"])).combine_chunks()
    return {name: table[name].combine_chunks() for name in table.column_names}


def _unknown(hashes: Sequence[str], known: set[str] | None) -> BoolArray | None:
    return None if known is None else np.array([image_hash not in known for image_hash in hashes], bool)


def _slice(answered: Answered, mine: BoolArray) -> dict[str, float]:
    means = answered.means(mine)
    return {"queries": int(mine.sum()), **{name: means[name] for name in SLICED}}
