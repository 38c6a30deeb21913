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
from recsim_tasks.vectors.index import Index
from recsim_tasks.vectors.recall import K, drop_own, recall, without_own

FEWEST_QUERIES = 10
COMPARED_FIELDS = ["product_id", "image_hash", "category"]
TIMED_QUERIES = 200


@dataclass(frozen=True)
class Sample:
    """The products that are asked for: rows of the index [q], embeddings float32 [q, d], categories [q]."""

    rows: Rows
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


def evaluate(index: Index, settings: Settings, among: set[str] | None = None, trained: set[str] | None = None) -> dict[str, Any]:
    """Measure retrieval by category, the index against exact search, and the time of a query; by products of `among` when it is given.

    `trained` are the hashes of the pictures that the catalogue had when the model was trained, when that is known.

    `metrics`: `precision_at_1`, `precision_at_10` of the index's answers; `map_at_r`, `r_precision` among the products asked for alone,
    which makes R, and the cost, independent of the catalogue's size; `ann_recall_at_10`, the share of the exact ten nearest that the
    index finds, and `built_recall`, that of the index when it was built; `imbalance_growth`, how much more unequal its lists are since;
    `query_p95_ms`. `slices`: `queries`, `precision_at_1`, `precision_at_10` by category. `since_training`: the same of products with a
    picture that is `added` since, and of those `there_before`, neither seen by the training.
    """
    rows = _sample_rows(index, settings, among)
    _, vectors = index.all_vectors()
    categories = _categories(index)
    sample = Sample(rows, vectors[rows], categories[rows])
    answers = without_own(index, sample.rows, sample.vectors)
    neighbours = categories[answers.positions]
    metrics = {
        **_precisions(sample.labels, neighbours),
        **_within(sample),
        "ann_recall_at_10": recall(answers, sample.rows, vectors),
        "built_recall": index.metadata["built_recall"],
        "imbalance_growth": index.imbalance / index.metadata["built_imbalance"],
        "query_p95_ms": _p95_ms(index, sample.vectors),
    }
    slices = {name: _slice(sample.labels == name, sample.labels, neighbours) for name in sorted(set(sample.labels.tolist()))}
    return {"metrics": metrics, "slices": slices, "since_training": _since_training(index, sample, neighbours, trained)}


def _since_training(index: Index, sample: Sample, neighbours: Labels, trained: set[str] | None) -> dict[str, dict[str, float]]:
    if trained is None:
        return {}
    hashes = index.items.column("image_hash").to_pylist()
    added = np.array([hashes[row] not in trained for row in sample.rows.tolist()], bool)
    return {name: _slice(mine, sample.labels, neighbours) for name, mine in (("added", added), ("there_before", ~added)) if mine.any()}


def _sample_rows(index: Index, settings: Settings, among: set[str] | None = None) -> Rows:
    """The rows of the products that are asked for, int64 [q]: with a category, and not seen by any training; any when these are too few.

    At most `evaluation_queries`, chosen by their images' hashes, so that two releases of nearly the same catalogue are asked nearly the
    same. Raises `InputError` when nothing tells a good answer.
    """
    ids, hashes = (index.items.column(name).to_pylist() for name in ("product_id", "image_hash"))
    labelled = [row for row, name in enumerate(_categories(index)) if name and (among is None or ids[row] in among)]
    if len(labelled) < 2:
        raise InputError("The index holds fewer than two products with a category: nothing tells a good answer. Deliver categories.")
    unseen = [row for row in labelled if split_of(hashes[row]) == "test"]
    candidates = unseen if len(unseen) >= FEWEST_QUERIES else labelled
    return np.array(sorted(candidates, key=lambda row: (hashes[row], ids[row]))[: settings.evaluation_queries], np.int64)


def _categories(index: Index) -> Labels:
    return np.array([name or "" for name in index.items.column("category").to_pylist()], object)


def _precisions(labels: Labels, neighbours: Labels) -> dict[str, float]:
    depth = neighbours.shape[1]
    return {f"precision_at_{k}": precision_at_k(labels, neighbours, min(k, depth)) for k in (1, K)}


def _within(sample: Sample) -> dict[str, float]:
    relevant = relevant_counts(sample.labels, sample.labels, leave_one_out=True)
    found, _ = exact_neighbours(sample.vectors, sample.vectors, int(relevant.max()) + 1)
    labels = sample.labels[drop_own(found, np.arange(len(found)), found)]
    return {"map_at_r": map_at_r(sample.labels, labels, relevant), "r_precision": r_precision(sample.labels, labels, relevant)}


def _slice(mine: npt.NDArray[np.bool_], labels: Labels, neighbours: Labels) -> dict[str, float]:
    return {"queries": int(mine.sum()), **_precisions(labels[mine], neighbours[mine])}


def _p95_ms(index: Index, queries: Floats) -> float:
    times = []
    for query in queries[:TIMED_QUERIES]:
        began = time.perf_counter()
        index.search(query[None], K)
        times.append(time.perf_counter() - began)
    return round(float(np.percentile(times, 95)) * 1000, 3)
