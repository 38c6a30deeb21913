"""Quality against minutes of training, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.bench import Bench

TITLES = {"precision_at_1": "precision@1", "map_at_r": "MAP@R"}


def draw(
    bench: Bench, minutes: Sequence[float], article: float, baselines: Sequence[str], path: Path
) -> None:
    """Draw ours at every budget, the article's recipe at its own, and the baselines as lines."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(1, 2), TITLES.items(), strict=True):
        axes.plot(
            minutes,
            [bench.figures[f"ours, {m:g} min: {metric}"] for m in minutes],
            marker="o",
            color="#0969da",
            label="ours",
        )
        for name, sign in (("the article's recipe", "x"), ("the article's, repaired", "s")):
            axes.plot([article], [bench.figures[f"{name}: {metric}"]], sign, color="#cf222e", label=name)
        for name, style in zip(baselines, ("-", "--", ":"), strict=False):
            axes.axhline(bench.figures[f"{name}: {metric}"], color="#8c959f", linestyle=style, label=name)
        axes.set(
            title=f"{title}: 10,000 test images searched among 60,000",
            xlabel="minutes of training",
            xscale="log",
            ylim=(0, 1),
        )
    axes.legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
