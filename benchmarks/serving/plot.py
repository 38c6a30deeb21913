"""The plot of a run: responses per second and latencies, by number of clients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Bench

SERVERS = {"ours": "recsim serve", "mlflow": "mlflow models serve"}


def draw(bench: Bench, clients: Sequence[int], to: Path) -> None:
    """Write the plot as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for place, (name, label) in enumerate(SERVERS.items()):
        at = [n + 0.4 * place for n in range(len(clients))]
        left.bar(at, [1 / bench.median(f"{name}, {count}") for count in clients], 0.38, label=label)
        for quantile, opacity in (("p99", 0.45), ("p50", 1)):
            heights = [bench.median(f"{name}, {count}, {quantile}") * 1000 for count in clients]
            right.bar(at, heights, 0.38, alpha=opacity, color=f"C{place}")
    for axes in (left, right):
        axes.set_xticks(
            [n + 0.2 for n in range(len(clients))],
            [f"{count} client{'s' if count > 1 else ''}" for count in clients],
        )
    left.set(title="Responses per second")
    right.set(title="Latency in milliseconds: median, and p99 (paler)", yscale="log")
    right.yaxis.set_major_formatter("{x:g}")
    figure.legend(handles=left.containers, loc="outside lower center", ncols=len(SERVERS), frameon=False)
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=110)
    plt.close(figure)
