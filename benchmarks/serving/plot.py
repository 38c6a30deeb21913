"""The picture of a run: answers a second and their times, by how many ask at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.vectors.bench import Bench

SERVERS = {"ours": "recsim serve", "mlflow": "mlflow models serve"}


def draw(bench: Bench, clients: Sequence[int], to: Path) -> None:
    """Write the picture as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for place, (name, label) in enumerate(SERVERS.items()):
        at = [n + 0.4 * place for n in range(len(clients))]
        left.bar(at, [1 / bench.median(f"{name}, {count}") for count in clients], 0.38, label=label)
        right.bar(
            at,
            [bench.median(f"{name}, {count}, p99") * 1000 for count in clients],
            0.38,
            label=f"{label}, p99",
            alpha=0.45,
            color=f"C{place}",
        )
        right.bar(
            at, [bench.median(f"{name}, {count}, p50") * 1000 for count in clients], 0.38, label=f"{label}, median", color=f"C{place}"
        )
    for axes in (left, right):
        axes.set_xticks([n + 0.2 for n in range(len(clients))], [f"{count} client{'s' if count > 1 else ''}" for count in clients])
        axes.legend(frameon=False)
    left.set(title="Answers a second")
    right.set(title="Milliseconds to an answer", yscale="log")
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=110)
    plt.close(figure)
