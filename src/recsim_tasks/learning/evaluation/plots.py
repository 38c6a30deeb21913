"""What a person looks at to know a model: its curves, what it takes for what, answers, the lie of the land."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsim_tasks.arrays import Float32Array, Float64Array, Int64Array, UInt8Array
from recsim_tasks.foundation.text import one_line
from recsim_tasks.learning.spec import Round

SHEET_ROWS = 8
GREEN, RED, INK, GREY = "#1a7f37", "#cf222e", "#1f2328", "#8c959f"
Shown = tuple[UInt8Array, str, bool]


def curves(rounds: Sequence[Round]) -> Any:
    """Loss, and the validation images' precision@1, MAP@R and spread, against images seen."""
    figure, (left, right) = _subplots(1, 2, (10, 4))
    seen = [r.images for r in rounds]
    left.plot(seen, [r.loss for r in rounds], marker=".", color=INK)
    left.set(title="Loss", xlabel="images seen", ylim=(0, None))
    for name, label in (("precision_at_1", "precision@1"), ("map_at_r", "MAP@R"), ("spread", "spread")):
        right.plot(seen, [getattr(r, name) for r in rounds], marker=".", label=label)
    right.set(title="Validation images", xlabel="images seen", ylim=(0, 1))
    right.legend(frameon=False)
    return figure


def matrix(shares: Float64Array, names: Sequence[str]) -> Any:
    """Of the ten neighbours of test images of each category (row), the share of every category (column)."""
    side = max(5.0, 0.5 * len(names) + 2)
    figure, axes = _subplots(1, 1, (side + 1, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(
        title="What the neighbours of each category are",
        ylabel="test images of",
        xlabel="share of the ten nearest",
    )
    shown = [lettered(name) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), shown)
    for (row, column), share in np.ndenumerate(shares) if len(names) <= 30 else ():
        if share >= 0.005:
            axes.text(
                column,
                row,
                f"{share:.0%}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if share > 0.5 else INK,
            )
    return figure


def sheet(rows: Sequence[Sequence[Shown]]) -> Any:
    """A query a row, at the left, and its nearest; green frames are the query's own category."""
    columns = max(len(row) for row in rows)
    figure, axes = _subplots(len(rows), columns, (1.15 * columns, 1.35 * len(rows)))
    for row, cells in zip(np.reshape(axes, (len(rows), columns)), rows, strict=True):
        for place, cell in enumerate(row):
            cell.set_xticks([])
            cell.set_yticks([])
            if place < len(cells):
                _cell(cell, cells[place], INK if place == 0 else GREEN if cells[place][2] else RED)
    return figure


def scatter(places: Float32Array, labels: Int64Array, names: Sequence[str]) -> Any:
    """Test images by the two directions in which their embeddings vary most; a colour a category, the twenty largest."""
    import matplotlib as mpl

    figure, axes = _subplots(1, 1, (9, 7))
    colours = mpl.colormaps["tab20"]
    largest = sorted(range(len(names)), key=lambda n: -int((labels == n).sum()))[:20]
    others = ~np.isin(labels, largest)
    axes.scatter(*places[others].T, s=6, color=GREY, label="others" if others.any() else None)
    for colour, number in enumerate(sorted(largest)):
        axes.scatter(*places[labels == number].T, s=6, color=colours(colour), label=lettered(names[number]))
    axes.set(title="Embeddings of test images, by their two main directions")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(frameon=False, markerscale=2.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def lettered(name: str) -> str:
    """A category's name or a product's id for matplotlib, which would read what stands between two `$` as a formula."""
    return one_line(name).replace("$", r"\$")


def _cell(axes: Any, shown: Shown, colour: str) -> None:
    image, name, _ = shown
    axes.imshow(image.squeeze(), cmap="gray" if image.shape[-1] == 1 else None, vmin=0, vmax=255)
    axes.set_title(lettered(name[:14]), fontsize=7, color=colour)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=1.5)


def _subplots(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """Without pyplot, which keeps every figure alive."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns)
