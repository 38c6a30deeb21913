"""Plots of a trained encoder: learning curves, confusion matrix, retrieval sheets, embedding map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsim_tasks.arrays import Float32Array, Float64Array, Int64Array, UInt8Array
from recsim_tasks.foundation.text import one_line
from recsim_tasks.learning.spec import ValidationResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHEET_ROWS = 8
MAX_COLOURS = 20
GREEN, RED, INK, GREY = "#1a7f37", "#cf222e", "#1f2328", "#8c959f"


class SheetCell(NamedTuple):
    """An image of a retrieval sheet."""

    image: UInt8Array
    category: str
    relevant: bool
    """Whether it has the query's category."""


def learning_curves(rounds: Sequence[ValidationResult]) -> Figure:
    """Plot loss, and the validation images' precision@1, MAP@R and spread, against images seen."""
    figure, (left, right) = _subplots(1, 2, (10, 4))
    seen = [r.images for r in rounds]
    left.plot(seen, [r.loss for r in rounds], marker=".", color=INK)
    left.set(title="Loss", xlabel="images seen", ylim=(0, None))
    for name, label in (("precision_at_1", "precision@1"), ("map_at_r", "MAP@R"), ("spread", "spread")):
        right.plot(seen, [getattr(r, name) for r in rounds], marker=".", label=label)
    right.set(title="Validation images", xlabel="images seen", ylim=(0, 1))
    right.legend(frameon=False)
    return figure


def confusion_matrix(shares: Float64Array, names: Sequence[str]) -> Figure:
    """Plot the share of each category (column) among the neighbours of each category's test images (row)."""
    side = max(5.0, 0.5 * len(names) + 2)
    figure, axes = _subplots(1, 1, (side + 1, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(
        title="Categories of the nearest neighbours",
        ylabel="category of the test image",
        xlabel="share of the ten nearest",
    )
    labels = [escape_mathtext(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), labels)
    for (row, column), share in np.ndenumerate(shares) if len(names) <= 30 else ():
        if share >= 0.005:
            colour = "white" if share > 0.5 else INK
            axes.text(column, row, f"{share:.0%}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def retrieval_sheet(rows: Sequence[Sequence[SheetCell]]) -> Figure:
    """Plot a query per row, on the left, and its neighbours; green frames mark the query's own category."""
    columns = max(len(row) for row in rows)
    figure, grid = _subplots(len(rows), columns, (1.15 * columns, 1.35 * len(rows)))
    for row, cells in zip(np.reshape(grid, (len(rows), columns)), rows, strict=True):
        for column, axes in enumerate(row):
            axes.set_xticks([])
            axes.set_yticks([])
            if column < len(cells):
                frame = INK if column == 0 else GREEN if cells[column].relevant else RED
                _draw_cell(axes, cells[column], frame)
    return figure


def embedding_map(points: Float32Array, labels: Int64Array, names: Sequence[str]) -> Figure:
    """Plot embeddings by two principal components, [n, 2], with colours for the twenty largest categories."""
    import matplotlib as mpl

    figure, axes = _subplots(1, 1, (9, 7))
    colours = mpl.colormaps["tab20"]
    largest = sorted(range(len(names)), key=lambda n: -int((labels == n).sum()))[:MAX_COLOURS]
    others = ~np.isin(labels, largest)
    axes.scatter(*points[others].T, s=6, color=GREY, label="others" if others.any() else None)
    for colour, number in enumerate(sorted(largest)):
        name = escape_mathtext(names[number])
        axes.scatter(*points[labels == number].T, s=6, color=colours(colour), label=name)
    axes.set(title="Embeddings of test images, by their two principal components")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(frameon=False, markerscale=2.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def escape_mathtext(name: str) -> str:
    """Escape a text for matplotlib, which reads what is between two `$` as a formula."""
    return one_line(name).replace("$", r"\$")


def _draw_cell(axes: Any, cell: SheetCell, colour: str) -> None:
    axes.imshow(cell.image.squeeze(), cmap="gray" if cell.image.shape[-1] == 1 else None, vmin=0, vmax=255)
    axes.set_title(escape_mathtext(cell.category[:14]), fontsize=7, color=colour)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=1.5)


def _subplots(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, Any]:
    """Create a figure without pyplot, which keeps every figure alive."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns)
