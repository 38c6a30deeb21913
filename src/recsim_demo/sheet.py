"""The retrieval sheet: held-out images, each beside its nearest products."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from recsim_demo.held_out import QueryResults
from recsim_tasks.arrays import UInt8Array
from recsim_tasks.learning.evaluation.plots import escape_mathtext

NEIGHBOURS = 8
RELEVANT, IRRELEVANT, INK, FAINT = "#1a7f4b", "#c0392b", "#222222", "#777777"


def draw_sheet(
    client: httpx.Client, images: UInt8Array, categories: list[str], results: QueryResults, path: Path
) -> Path:
    """Write a PNG with a row per category: an image and its neighbours, framed by relevance."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    rows = [categories.index(name) for name in dict.fromkeys(categories)]
    figure, axes = plt.subplots(
        len(rows), NEIGHBOURS + 1, figsize=(1.35 * (NEIGHBOURS + 1), 1.72 * len(rows)), squeeze=False
    )
    for cells, row in zip(axes, rows, strict=True):
        _draw_cell(cells[0], images[row], "query", categories[row], INK)
        for cell, hit in zip(cells[1:], results.neighbours[row], strict=False):
            colour = RELEVANT if hit["category"] == categories[row] else IRRELEVANT
            _draw_cell(
                cell,
                _image(client, hit["product_id"]),
                f"{escape_mathtext(hit['product_id'])}\n{hit['score']:.3f}",
                hit["category"],
                colour,
            )
    figure.suptitle(
        f"Release {results.release}: images that no feed contained, and their nearest products",
        fontsize=12,
        color=INK,
        y=0.998,
    )
    figure.tight_layout(pad=0.6, rect=(0, 0, 1, 0.985))
    figure.savefig(path, dpi=110, facecolor="white")
    plt.close(figure)
    return path


def _draw_cell(cell: object, pixels: UInt8Array, below: str, above: str, colour: str) -> None:
    cell.imshow(pixels, cmap="gray_r", vmin=0, vmax=255)  # type: ignore[attr-defined]
    cell.set_title(escape_mathtext(above), fontsize=7, color=colour, pad=3)  # type: ignore[attr-defined]
    cell.set_xlabel(below, fontsize=6, color=FAINT, labelpad=3)  # type: ignore[attr-defined]
    cell.set_xticks([])  # type: ignore[attr-defined]
    cell.set_yticks([])  # type: ignore[attr-defined]
    for spine in cell.spines.values():  # type: ignore[attr-defined]
        spine.set_color(colour)
        spine.set_linewidth(1.6)


def _image(client: httpx.Client, product_id: str) -> UInt8Array:
    reply = client.get(f"/v1/products/{product_id}/image")
    reply.raise_for_status()
    return np.asarray(Image.open(io.BytesIO(reply.content)))
