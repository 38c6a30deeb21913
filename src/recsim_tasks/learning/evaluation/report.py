"""How good a newly trained model is, on test images, beside what it must beat; told in MLflow, in figures and pictures."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsim_tasks.arrays import Float32Array, Int64Array, UInt8Array
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.data.dataset import Examples, labelled, load, select
from recsim_tasks.learning.data.splits import Split
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.evaluation import plots
from recsim_tasks.learning.evaluation.baselines import Pca, pixels, untrained
from recsim_tasks.learning.evaluation.retrieval import METRICS, Answers, Masks, answers, confusion
from recsim_tasks.learning.mlflow_runs import Tracker
from recsim_tasks.learning.model.export import Files
from recsim_tasks.learning.spec import Job, Round

log = logging.getLogger(__name__)

QUERIES, GALLERY = 2_000, 10_000
AT_A_TIME = 256
MODEL = "this model"
Embed = Callable[[UInt8Array], Float32Array]


@dataclass(frozen=True)
class Compared:
    """Queries, gallery, and what each way of looking finds: by name, this model first."""

    queries: Examples
    gallery: Examples
    vectors: Float32Array
    """This model's, of the queries."""
    found: Mapping[str, Answers]


def report(
    settings: Settings, job: Job, files: Files, rounds: list[Round], tracker: Tracker, run_id: str
) -> dict[str, float]:
    """Measure the model in `files`, and leave a table and pictures in its run; returns this model's measures.

    Queries are test images, at most 2,000; the gallery are training images, at most 10,000: the search is exact, and says what the model
    is worth, not the index. Which they are depends on their hashes alone.
    """
    log.info("Measuring the model on test images, and beside it raw pixels, PCA and an untrained network")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(data)
        compared = compare(job, Embedder(Path(folder), threads=settings.ranks))
    if compared is None:
        log.info("No test image has a category to learn: nothing is measured")
        return {}
    table = {name: found.metrics for name, found in compared.found.items()}
    for line in lines(table):
        log.info(line)
    tracker.client.log_text(
        run_id,
        "\n".join(lines(table)) + "\n\n" + "\n".join(_by_slice(compared.found[MODEL])),
        "quality/table.md",
    )
    tracker.client.log_dict(
        run_id,
        {name: {**f.metrics, "slices": f.slices} for name, f in compared.found.items()},
        "quality/table.json",
    )
    for name, value in table[MODEL].items():
        tracker.client.log_metric(run_id, f"test_{name}", value)
    for name, figure in _pictures(job, rounds, compared).items():
        tracker.client.log_figure(run_id, figure, f"quality/{name}.png")
    return table[MODEL]


def compare(job: Job, embedder: Embedder) -> Compared | None:
    """Ask the same queries of the model's embeddings, of raw pixels, of PCA and of an untrained network; None without queries."""
    queries, gallery = _some(job, "test", QUERIES), _some(job, "train", GALLERY)
    if not len(queries) or not len(gallery):
        return None
    slices = slices_of(job, queries)
    vectors = _vectors(embedder.embed, queries), _vectors(embedder.embed, gallery)
    raw = _vectors(pixels, queries), _vectors(pixels, gallery)
    pca, fresh = Pca(raw[1], job.embedding_size), untrained(job.preprocessing, job.embedding_size, job.seed)
    looks = {
        MODEL: vectors,
        "raw pixels": raw,
        "PCA of the pixels": (pca(raw[0]), pca(raw[1])),
        "untrained network": (_vectors(fresh, queries), _vectors(fresh, gallery)),
    }
    found = {
        name: answers(mine, queries.labels, theirs, gallery.labels, slices)
        for name, (mine, theirs) in looks.items()
    }
    return Compared(queries, gallery, vectors[0], found)


def slices_of(job: Job, queries: Examples) -> Masks:
    """Queries by category, and colour apart from grey where the model sees colour."""
    masks = {category: queries.labels == number for number, category in enumerate(job.categories)}
    if job.preprocessing.channels == 3:
        grey = np.concatenate([(part == part[..., :1]).all(axis=(1, 2, 3)) for part in _parts(queries)])
        masks |= {"grey pictures": grey, "colour pictures": ~grey}
    return {name: mask for name, mask in masks.items() if mask.any()}


def lines(table: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A Markdown table: a line for each way of looking."""
    head = ["| | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 1) + "|"]
    return head + [
        f"| {name} | " + " | ".join(f"{metrics[m]:.4f}" for m in METRICS) + " |"
        for name, metrics in table.items()
    ]


def _by_slice(found: Answers) -> list[str]:
    return lines({f"{name} ({part['queries']:.0f} queries)": part for name, part in found.slices.items()})


def _pictures(job: Job, rounds: list[Round], compared: Compared) -> dict[str, Any]:
    queries, found = compared.queries, compared.found[MODEL]
    neighbours = compared.gallery.labels[found.nearest]
    hits = (neighbours == queries.labels[:, None]).mean(axis=1)
    order = np.argsort(hits, kind="stable")
    names = job.categories
    return {
        "learning-curves": plots.curves(rounds),
        "neighbours": plots.matrix(confusion(queries.labels, neighbours, len(names)), names),
        "worst-queries": plots.sheet(_shown(compared, order[: plots.SHEET_ROWS], names)),
        "best-queries": plots.sheet(_shown(compared, order[::-1][: plots.SHEET_ROWS], names)),
        "map": plots.scatter(Pca(compared.vectors, 2)(compared.vectors), queries.labels, names),
    }


def _shown(
    compared: Compared, rows: Int64Array, names: tuple[str, ...]
) -> list[list[tuple[UInt8Array, str, bool]]]:
    """Each row of a sheet: the query and its neighbours, as picture, category, and whether that is the query's."""
    shown = []
    for row in rows:
        label = compared.queries.labels[row]
        near = compared.found[MODEL].nearest[row]
        labels = compared.gallery.labels[near]
        images = [compared.queries.read(np.array([row]))[0], *compared.gallery.read(near)]
        shown.append(
            [
                (image, names[number], bool(number == label))
                for image, number in zip(images, [label, *labels], strict=True)
            ]
        )
    return shown


def _some(job: Job, split: Split, most: int) -> Examples:
    hashes, labels = select(labelled(job.products, job.cursor), job.categories, split)
    return load(job.products, job.cursor, job.preprocessing, hashes[:most], labels[:most])


def _vectors(embed: Embed, examples: Examples) -> Float32Array:
    return np.concatenate([embed(part) for part in _parts(examples)])


def _parts(examples: Examples) -> list[UInt8Array]:
    return [
        examples.read(rows)
        for rows in np.array_split(np.arange(len(examples)), -(-len(examples) // AT_A_TIME))
    ]
