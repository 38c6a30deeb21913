"""Measure the quality of a release on its own index, and beside the champion on the same queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_tasks.arrays import AnyArray, BoolArray, Float64Array, Int64Array
from recsim_tasks.catalogue.delta.reader import without_views
from recsim_tasks.contracts import Metrics, SliceMetrics
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.preprocessing import decode_all
from recsim_tasks.release.evaluation.drift import Drift
from recsim_tasks.release.evaluation.queries import MIN_QUERIES, QueryResults, run_queries, sample_rows
from recsim_tasks.release.evaluation.speed import QueryTimes, query_times
from recsim_tasks.vectors.index import Index

# How far the cosine of an image's vector and its stored one may be from 1: processors round differently.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Evaluation:
    """The results of a release's queries for its own products, and what was measured on them."""

    results: QueryResults
    metrics: Metrics
    times: QueryTimes
    new_since_training: BoolArray | None
    """Which of the queried products, [q], have an image that is newer than the training; None if not
    known."""
    new_since_champion: BoolArray | None
    """Which of them have an image that the champion does not have; None without a champion."""

    def completed(self, coverage: float, drift: Drift | None) -> Evaluation:
        """The evaluation with the metrics that need the catalogue's images and the champion's drift."""
        update = {
            "coverage": None if np.isnan(coverage) else coverage,
            **(drift.as_metrics() if drift else {}),
        }
        return replace(self, metrics=self.metrics.model_copy(update=update))

    @property
    def slices(self) -> dict[str, SliceMetrics]:
        """The quality by category."""
        labels = self.results.labels
        return {name: _slice(self.results, labels == name) for name in sorted(set(labels.tolist()))}

    @property
    def since_training(self) -> dict[str, SliceMetrics]:
        """The quality of `added` and `existing` products, by the date of the training."""
        return self._split(self.new_since_training)

    @property
    def since_champion(self) -> dict[str, SliceMetrics]:
        """The quality of `added` and `existing` products, compared with the champion."""
        return self._split(self.new_since_champion)

    def _split(self, added: BoolArray | None) -> dict[str, SliceMetrics]:
        parts = () if added is None else (("added", added), ("existing", ~added))
        return {name: _slice(self.results, mask) for name, mask in parts if mask.any()}


@dataclass(frozen=True)
class Comparison:
    """The results of challenger and champion for the same products, in the same order."""

    challenger: QueryResults
    champion: QueryResults
    churn: float
    """Share of the top-10 results that differ, among products that both releases have."""
    lists_changed: float
    """Share of the top-10 lists with any such difference."""
    same_model: bool


def measure(
    index: Index, settings: Settings, trained: set[str] | None = None, champion: Index | None = None
) -> Evaluation:
    """Measure retrieval by category, the index against exact search, and the processor time of a query.

    `trained` are the hashes of the images that the catalogue had when the model was trained, None if they are
    not known; `champion` is the champion's index, if there is a champion. `coverage` and drift are not
    measured.
    """
    results = run_queries(index, rows := sample_rows(index, settings.evaluation_queries))
    hashes = _columns(index)["image_hash"].take(pa.array(rows)).to_pylist()
    times = query_times(index, champion, settings.gate_max_slowdown)
    metrics = Metrics(
        **results.means(),
        built_recall=index.metadata.built_recall,
        imbalance_growth=index.imbalance / index.metadata.built_imbalance,
        query_cpu_p95_ms=times.own_ms,
        coverage=None,
    )
    previous = None if champion is None else set(champion.products["image_hash"].to_pylist())
    return Evaluation(results, metrics, times, _not_in(hashes, trained), _not_in(hashes, previous))


def compare(challenger: Index, champion: Index, settings: Settings) -> Comparison | None:
    """Query both releases for products that both have; None if these are too few.

    The products have the same category in both, and the same image if there are enough of those. Each release
    answers from its own vectors, so that releases of different encoders can be compared.
    """
    rows, champion_rows = _common(challenger, champion)
    if len(rows) < MIN_QUERIES:
        return None
    sample = sample_rows(challenger, settings.evaluation_queries, rows)
    own = run_queries(challenger, sample)
    other = run_queries(champion, champion_rows[np.searchsorted(rows, sample)])
    changed = _changed(own.neighbours, other.neighbours, challenger, champion)
    return Comparison(
        challenger=own,
        champion=other,
        churn=float(changed.mean()),
        lists_changed=float((changed > 0).mean()),
        same_model=challenger.metadata.model_fingerprint == champion.metadata.model_fingerprint,
    )


def withdrawn_share(challenger: Index, champion: Index) -> float:
    """Share of the champion's products that the challenger no longer has."""
    kept = pc.is_in(_columns(champion)["product_id"], value_set=_columns(challenger)["product_id"])
    return 1 - (pc.mean(pc.cast(kept, pa.float64())).as_py() or 0.0)


def coverage(index: Index, embedder: Embedder, images: Iterable[pa.Table]) -> float:
    """Share of `images` (tables with a column `image` of bytes) for which the index finds the same image.

    NaN for none.
    """
    best: list[float] = []
    for part in images:
        vectors = embedder.embed(decode_all(part["image"].to_pylist(), embedder.preprocessing))
        best += index.neighbours(vectors, 1).scores[:, 0].tolist()
    return float(np.mean(np.array(best) >= 1 - TOLERANCE)) if best else float("nan")


def _common(one: Index, other: Index) -> tuple[Int64Array, Int64Array]:
    """Return the rows in each index of the products that both have, ascending in the first.

    They have the same category in both, and the same image if there are enough of those.
    """
    left, right = _columns(one), _columns(other)
    positions = pc.index_in(left["product_id"], value_set=right["product_id"])
    rows = np.flatnonzero(pc.is_valid(positions).to_numpy(zero_copy_only=False))
    other_rows = pc.drop_null(positions).to_numpy().astype(np.int64)

    def same(column: str) -> BoolArray:
        equal = pc.equal(left[column].take(pa.array(rows)), right[column].take(pa.array(other_rows)))
        return np.asarray(pc.fill_null(equal, False).to_numpy(zero_copy_only=False), bool)

    same_category = same("category")
    same_image = same_category & same("image_hash")
    kept = same_image if same_image.sum() >= MIN_QUERIES else same_category
    return rows[kept], other_rows[kept]


def _changed(own: AnyArray, other: AnyArray, challenger: Index, champion: Index) -> Float64Array:
    """Return the share [q] of each top-10 list that is not in the other, among products that both have."""
    known = {*_present(own, champion), *_present(other, challenger)}
    changed = []
    for one, two in zip(own.tolist(), other.tolist(), strict=True):
        left, right = ([name for name in names if name in known] for names in (one, two))
        depth = min(len(left), len(right))
        changed.append(1 - len(set(left[:depth]) & set(right[:depth])) / depth if depth else 0.0)
    return np.array(changed)


def _present(names: AnyArray, index: Index) -> list[str]:
    distinct = pa.array(sorted(set(names.ravel().tolist())), pa.string())
    return distinct.filter(pc.is_in(distinct, value_set=_columns(index)["product_id"])).to_pylist()  # type: ignore[no-any-return]


def _columns(index: Index) -> dict[str, pa.Array]:
    """The columns that identify products, as plain arrays.

    An index that was opened from its files has views of them.
    """
    table = without_views(index.products.select(["product_id", "category", "image_hash"])).combine_chunks()
    return {name: table[name].combine_chunks() for name in table.column_names}


def _not_in(hashes: Sequence[str], known: set[str] | None) -> BoolArray | None:
    return None if known is None else np.array([image_hash not in known for image_hash in hashes], bool)


def _slice(results: QueryResults, mask: BoolArray) -> SliceMetrics:
    means = results.means(mask)
    return SliceMetrics(
        queries=int(mask.sum()),
        precision_at_1=means["precision_at_1"],
        precision_at_10=means["precision_at_10"],
    )
