"""The report on a new encoder, logged to MLflow: metrics on test images beside the baselines, plots."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_tasks.arrays import Float32Array, Int64Array, UInt8Array
from recsim_tasks.learning.data.dataset import (
    ImageDataset,
    Subset,
    load_images,
    read_labelled_images,
    select_split,
)
from recsim_tasks.learning.data.splits import Split
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.evaluation import plots
from recsim_tasks.learning.evaluation.baselines import EmbedImages, fit_pca, raw_pixels, untrained_network
from recsim_tasks.learning.evaluation.retrieval import (
    METRICS,
    LabelledVectors,
    RetrievalResult,
    SliceMasks,
    confusion,
    evaluate_retrieval,
)
from recsim_tasks.learning.mlflow_runs import TrackedRun
from recsim_tasks.learning.model.export import ModelFiles, write_files
from recsim_tasks.learning.spec import TrainingSpec, ValidationResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

MAX_QUERIES, MAX_REFERENCES = 2_000, 10_000
EMBED_BATCH = 256
MODEL = "this model"


@dataclass(frozen=True)
class Comparison:
    """Queries, references, and the results of the model and of each baseline, by name."""

    queries: ImageDataset
    references: ImageDataset
    vectors: Float32Array
    """The model's embeddings of the queries."""
    results: Mapping[str, RetrievalResult]


def report(
    spec: TrainingSpec, files: ModelFiles, rounds: Sequence[ValidationResult], run: TrackedRun, threads: int
) -> dict[str, float]:
    """Evaluate the model in `files`, log a table and plots to `run`; returns the metrics, if any.

    Queries are test images, at most 2,000; references are training images, at most 10,000. The search is
    exact: it measures the model, not the index. Hashes alone decide which images are used.
    """
    log.info("Evaluating the model on test images, beside raw pixels, PCA and an untrained network")
    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder))
        comparison = compare(spec, Embedder(Path(folder), threads))
    if comparison is None:
        log.warning("No test image has a category of the training: the model is not evaluated")
        return {}
    results = comparison.results
    table = markdown_table({name: result.metrics for name, result in results.items()})
    for line in table:
        log.info("%s", line)
    by_slice = markdown_table(
        {f"{name} ({part['queries']:.0f} queries)": part for name, part in results[MODEL].slices.items()}
    )
    run.client.log_text(run.run_id, "\n".join(table) + "\n\n" + "\n".join(by_slice), "quality/table.md")
    values = {name: {**result.metrics, "slices": result.slices} for name, result in results.items()}
    run.client.log_dict(run.run_id, values, "quality/table.json")
    run.log_metrics({f"test_{name}": value for name, value in results[MODEL].metrics.items()})
    for name, figure in _figures(spec, rounds, comparison).items():
        run.client.log_figure(run.run_id, figure, f"quality/{name}.png")
    return results[MODEL].metrics


def compare(spec: TrainingSpec, embedder: Embedder) -> Comparison | None:
    """Run the same queries on the model's embeddings and on the baselines; None without queries."""
    queries, references = _images(spec, "test", MAX_QUERIES), _images(spec, "train", MAX_REFERENCES)
    if not len(queries) or not len(references):
        return None
    slices = slice_masks(spec, queries)
    model = _embed(embedder.embed, queries), _embed(embedder.embed, references)
    pixels = _embed(raw_pixels, queries), _embed(raw_pixels, references)
    pca = fit_pca(pixels[1], spec.embedding_size)
    untrained = untrained_network(spec.preprocessing, spec.embedding_size, spec.seed)
    vectors = {
        MODEL: model,
        "raw pixels": pixels,
        "PCA of the pixels": (pca(pixels[0]), pca(pixels[1])),
        "untrained network": (_embed(untrained, queries), _embed(untrained, references)),
    }
    results = {
        name: evaluate_retrieval(
            LabelledVectors(of_queries, queries.labels),
            LabelledVectors(of_references, references.labels),
            slices,
        )
        for name, (of_queries, of_references) in vectors.items()
    }
    return Comparison(queries, references, model[0], results)


def slice_masks(spec: TrainingSpec, queries: ImageDataset) -> SliceMasks:
    """Slices of the queries: by category, and grey or colour where the model sees colour."""
    masks = {category: queries.labels == number for number, category in enumerate(spec.categories)}
    if spec.preprocessing.channels == 3:
        grey = np.concatenate([(part == part[..., :1]).all(axis=(1, 2, 3)) for part in _parts(queries)])
        masks |= {"grey images": grey, "colour images": ~grey}
    return {name: mask for name, mask in masks.items() if mask.any()}


def markdown_table(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The lines of a Markdown table of metrics, with a row for each name."""
    head = ["| | " + " | ".join(METRICS) + " |", "|---" * (len(METRICS) + 1) + "|"]
    return head + [
        f"| {name} | " + " | ".join(f"{metrics[m]:.4f}" for m in METRICS) + " |"
        for name, metrics in rows.items()
    ]


def _figures(
    spec: TrainingSpec, rounds: Sequence[ValidationResult], comparison: Comparison
) -> dict[str, Figure]:
    queries, names = comparison.queries, spec.categories
    neighbours = comparison.references.labels[comparison.results[MODEL].nearest]
    hits = (neighbours == queries.labels[:, None]).mean(axis=1)
    order = np.argsort(hits, kind="stable")
    shares = confusion(queries.labels, neighbours, len(names))
    figures = {
        "learning-curves": plots.learning_curves(rounds),
        "neighbours": plots.confusion_matrix(shares, names),
        "worst-queries": plots.retrieval_sheet(_sheet(comparison, order[: plots.SHEET_ROWS], names)),
        "best-queries": plots.retrieval_sheet(_sheet(comparison, order[::-1][: plots.SHEET_ROWS], names)),
    }
    if len(queries) > 1:
        points = fit_pca(comparison.vectors, 2)(comparison.vectors)
        figures["map"] = plots.embedding_map(points, queries.labels, names)
    return figures


def _sheet(comparison: Comparison, rows: Int64Array, names: tuple[str, ...]) -> list[list[plots.SheetCell]]:
    return [_sheet_row(comparison, row, names) for row in rows]


def _sheet_row(comparison: Comparison, row: int, names: tuple[str, ...]) -> list[plots.SheetCell]:
    """The query in `row`, and its neighbours."""
    label, nearest = comparison.queries.labels[row], comparison.results[MODEL].nearest[row]
    labels = [label, *comparison.references.labels[nearest]]
    images = [comparison.queries.read(np.array([row]))[0], *comparison.references.read(nearest)]
    return [
        plots.SheetCell(image, names[number], bool(number == label))
        for image, number in zip(images, labels, strict=True)
    ]


def _images(spec: TrainingSpec, split: Split, limit: int) -> ImageDataset:
    labelled = read_labelled_images(spec.products_uri, spec.cursor)
    hashes, labels = select_split(labelled, spec.categories, Subset(split))
    return load_images(spec.products_uri, spec.cursor, spec.preprocessing, hashes[:limit], labels[:limit])


def _embed(embed: EmbedImages, dataset: ImageDataset) -> Float32Array:
    return np.concatenate([embed(part) for part in _parts(dataset)])


def _parts(dataset: ImageDataset) -> list[UInt8Array]:
    rows = np.array_split(np.arange(len(dataset)), -(-len(dataset) // EMBED_BATCH))
    return [dataset.read(part) for part in rows]
