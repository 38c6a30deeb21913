"""How good a release in the making is, measured on its own index: every product asked for is left out of its own answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.metrics import Labels, map_at_r, precision_at_k, r_precision, relevant_counts
from recsim_tasks.learning.split import split_of
from recsim_tasks.vectors.exact import Floats, Rows, exact_neighbours
from recsim_tasks.vectors.index import Hit, Index

K = 10
FEWEST_QUERIES = 10
COMPARED_FIELDS = ["product_id", "image_hash", "category"]
TIMED_QUERIES = 200
# Two libraries add up a product in another order; an equally near product (the same picture twice) is as good a find.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Sample:
    """The products that are asked for: rows into the index [q], ids, embeddings float32 [q, d], categories [q]."""

    rows: Rows
    ids: list[str]
    vectors: Floats
    labels: Labels


def compare(challenger: Index, champion: Index, settings: Settings) -> tuple[dict[str, float], dict[str, float]] | None:
    """Measure both releases on the same queries: products that both hold with the same image and category. None when they share too few.

    Each answers from its own vectors, so that releases of different models can be compared, and a change of the sample is no change of quality.
    """
    mine, theirs = ({row["product_id"]: row for row in index.items.select(COMPARED_FIELDS).to_pylist()} for index in (challenger, champion))
    common = {name for name, row in mine.items() if row["category"] and theirs.get(name) == row}
    if len(common) < FEWEST_QUERIES:
        return None
    return evaluate(challenger, settings, common)["metrics"], evaluate(champion, settings, common)["metrics"]


def evaluate(index: Index, settings: Settings, among: set[str] | None = None) -> dict[str, Any]:
    """Measure retrieval by category, the index against exact search, and the time of a query; by products of `among` when it is given.

    `metrics`: `precision_at_1`, `precision_at_10` of the index's answers; `map_at_r`, `r_precision` among the products asked for alone,
    which makes R, and the cost, independent of the catalogue's size; `ann_recall_at_10`, the share of the exact ten nearest that the
    index finds; `query_p95_ms`. `slices`: `queries`, `precision_at_1`, `precision_at_10` by category.
    """
    ids, vectors = index.all_vectors()
    categories = np.array([name or "" for name in index.items.column("category").to_pylist()], object)
    sample = _sample(index, settings, ids, vectors, categories, among)
    answers = _without_own(index, sample)
    category_of = dict(zip(ids, categories, strict=True))
    neighbours = np.array([[category_of[hit.product_id] for hit in hits] for hits in answers], object)
    metrics = {
        **_precisions(sample.labels, neighbours),
        **_within(sample),
        "ann_recall_at_10": _recall(answers, sample, vectors),
        "query_p95_ms": _p95_ms(index, sample.vectors),
    }
    slices = {name: _slice(sample.labels == name, sample.labels, neighbours) for name in sorted(set(sample.labels.tolist()))}
    return {"metrics": metrics, "slices": slices}


def _sample(index: Index, settings: Settings, ids: list[str], vectors: Floats, categories: Labels, among: set[str] | None) -> Sample:
    """At most `evaluation_queries` products with a category that no training has seen; any products when these are too few.

    Chosen by their images' hashes, so that two releases of nearly the same catalogue are asked nearly the same.
    """
    hashes = index.items.column("image_hash").to_pylist()
    labelled = [row for row, name in enumerate(categories) if name and (among is None or ids[row] in among)]
    if len(labelled) < 2:
        raise InputError("The index holds fewer than two products with a category: nothing tells a good answer. Deliver categories.")
    unseen = [row for row in labelled if split_of(hashes[row]) == "test"]
    candidates = unseen if len(unseen) >= FEWEST_QUERIES else labelled
    chosen = sorted(candidates, key=lambda row: (hashes[row], ids[row]))[: settings.evaluation_queries]
    rows = np.array(chosen, np.int64)
    return Sample(rows, [ids[row] for row in rows], vectors[rows], categories[rows])


def _without_own(index: Index, sample: Sample) -> list[list[Hit]]:
    """Each sampled product's ten nearest in the index; fewer in an index of ten or fewer."""
    depth = min(K, len(index) - 1)
    found = index.search(sample.vectors, depth + 1)
    return [[hit for hit in hits if hit.product_id != own][:depth] for own, hits in zip(sample.ids, found, strict=True)]


def _precisions(labels: Labels, neighbours: Labels) -> dict[str, float]:
    depth = neighbours.shape[1]
    return {f"precision_at_{k}": precision_at_k(labels, neighbours, min(k, depth)) for k in (1, K)}


def _within(sample: Sample) -> dict[str, float]:
    relevant = relevant_counts(sample.labels, sample.labels, leave_one_out=True)
    found, _ = exact_neighbours(sample.vectors, sample.vectors, int(relevant.max()) + 1)
    labels = sample.labels[_drop_own(found, np.arange(len(found)), found)]
    return {"map_at_r": map_at_r(sample.labels, labels, relevant), "r_precision": r_precision(sample.labels, labels, relevant)}


def _recall(answers: list[list[Hit]], sample: Sample, vectors: Floats) -> float:
    """Share of places whose product is as near as the exact search's last."""
    depth = len(answers[0])
    rows, scores = exact_neighbours(vectors, sample.vectors, depth + 1)
    farthest = _drop_own(rows, sample.rows, scores)[:, -1]
    near = [sum(hit.score >= limit - ROUNDING for hit in hits) / depth for limit, hits in zip(farthest, answers, strict=True)]
    return float(np.mean(near))


def _drop_own(rows: Rows, own: Rows, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`values` [q, n + 1] without the place where `rows` names the query itself, or without the last where it does not: [q, n]."""
    kept = rows != own[:, None]
    kept[kept.all(axis=1), -1] = False
    return np.reshape(values[kept], (len(rows), rows.shape[1] - 1))


def _slice(mine: npt.NDArray[np.bool_], labels: Labels, neighbours: Labels) -> dict[str, float]:
    return {"queries": int(mine.sum()), **_precisions(labels[mine], neighbours[mine])}


def _p95_ms(index: Index, queries: Floats) -> float:
    times = []
    for query in queries[:TIMED_QUERIES]:
        began = time.perf_counter()
        index.search(query[None], K)
        times.append(time.perf_counter() - began)
    return round(float(np.percentile(times, 95)) * 1000, 3)
