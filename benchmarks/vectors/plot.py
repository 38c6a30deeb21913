"""The plot of a run: cost of additions by library, recall under churn, and refreshes by share of changes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.vectors.embedding_rounds import SHARES

ADDERS = {"small": "recsim", "hnswlib": "hnswlib", "usearch": "usearch", "TF Similarity": "TF Similarity"}
CHURNED = ("ours", "hnswlib", "usearch")


def draw(bench: Bench, small: int, sizes: dict[str, int], to: Path) -> None:
    """Write the plot as PNG; `sizes` are the refreshed catalogues by name."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
    heights = [bench.median(f"{name} add 1%") * 1e6 for name in ADDERS]
    left.bar(list(ADDERS.values()), heights)
    left.set(title=f"Adding 1% to {small:,}", ylabel="microseconds per product", yscale="log", ylim=(1, None))
    for place, how in enumerate(("fresh", "churned")):
        values = [bench.figures[f"recall {name} {how}"] for name in CHURNED]
        middle.bar(
            [n + 0.4 * place for n in range(len(CHURNED))],
            values,
            0.38,
            label={"fresh": "rebuilt", "churned": "after 20 x 5%"}[how],
        )
    middle.set(title="Recall@10 under churn, same settings", ylim=(0.9, 1.0))
    middle.set_xticks([n + 0.2 for n in range(len(CHURNED))], ["recsim", "hnswlib", "usearch"])
    middle.legend(loc="lower left", framealpha=1)
    for name, count in sizes.items():
        whole = bench.median(f"{name} embed all") + bench.median(f"{name} index all")
        shares = [
            (bench.median(f"{name} embed {share}") + bench.median(f"{name} index {share}")) / whole
            for share in SHARES
        ]
        right.plot(
            [share * 100 for share in SHARES],
            [share * 100 for share in shares],
            marker="o",
            label=f"{count:,} products",
        )
    right.plot([0.1, 10], [0.1, 10], "--", color="grey", label="in proportion to the change")
    right.set(
        title="A refresh compared with a rebuild",
        xlabel="% of the products changed",
        ylabel="% of the time",
        xscale="log",
        yscale="log",
    )
    right.legend()
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=110)
