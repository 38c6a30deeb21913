"""Plot a run: ingest time by catalogue size, and by Spark settings."""

from __future__ import annotations

from pathlib import Path

from benchmarks.catalogue.bench import CatalogueBench

GROWTH = {"ours": "ours", "rewrite": "without deletion vectors", "delta-rs": "delta-rs merge only"}
BARS = {"day cold": "1%, first in process", "day warm": "1%, warm", "whole": "whole catalogue, warm"}


def draw(bench: CatalogueBench, small: int, large: int, to: Path) -> None:
    """Write the plot as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for variant, label in GROWTH.items():
        left.plot(
            [small, large],
            [bench.median(f"{variant} {count}").wall for count in (small, large)],
            marker="o",
            label=label,
        )
    left.set(
        title="Ingest of a feed of 1%, warm",
        xlabel="products in the catalogue",
        ylabel="seconds",
        xscale="log",
        ylim=(0, None),
    )
    left.legend()
    for position, variant in enumerate(("ours", "stock")):
        heights = [bench.median(f"{variant} {name}").wall for name in BARS]
        right.bar(
            [n + 0.4 * position for n in range(len(BARS))],
            heights,
            0.38,
            label=("ours", "stock Spark settings")[position],
        )
    right.set(title=f"{small:,} products: Spark's settings", ylabel="seconds")
    right.set_xticks([n + 0.2 for n in range(len(BARS))], list(BARS.values()))
    right.legend()
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=110)
