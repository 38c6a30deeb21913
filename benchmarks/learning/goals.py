"""The measured values as lines of the table, each beside its goal."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.report import Measure

RAW, UNSEEN = "raw pixels", "four classes never trained on"


def speed_measures(bench: Bench) -> list[Measure]:
    """Measures of speed (P12, the input pipeline) and of memory."""
    speeds = {
        name: 1 / bench.median(name)
        for name in ("1 rank, 1 thread", "2 ranks, 1 thread", "1 rank, 2 threads", "input")
    }
    return [
        Measure(
            "P12",
            "images/s of 2 ranks, each on 1 thread",
            speeds["2 ranks, 1 thread"] / 2,
            speeds["1 rank, 1 thread"],
            "1 rank on 1 thread; ours a rank",
            "of",
            0.85,
            unit="images/s",
        ),
        Measure(
            "P12_threads",
            "images/s of 2 ranks, each on 1 thread",
            speeds["2 ranks, 1 thread"],
            speeds["1 rank, 2 threads"],
            "1 rank on 2 threads",
            "of",
            1.0,
            unit="images/s",
        ),
        Measure(
            "input",
            "images/s of the input pipeline",
            speeds["input"],
            speeds["1 rank, 2 threads"],
            "what training takes, 2 threads",
            "of",
            3.0,
            unit="images/s",
        ),
        Measure(
            "memory",
            "largest rank, of a catalogue of many images",
            bench.figures["memory GiB"],
            4.0,
            "4 GiB",
            "ours/peer",
            1.0,
            unit="GiB",
        ),
    ]


def quality_measures(bench: Bench, short: float, long: float | None) -> list[Measure]:
    """Measures of quality, Q1 to Q5, as far as the budgets allow."""
    lines = [*_quality(bench, f"ours, {short:g} min", {"precision_at_1": 0.915, "map_at_r": 0.83}, "Q1")]
    if long is not None:
        lines += _quality(
            bench, f"ours, {long:g} min", {"precision_at_1": 0.935 if long <= 30 else 0.945}, "Q2"
        )
        lines += _quality(bench, f"ours, {long:g} min", {"map_at_r": 0.92}, "Q3")
    ours, raw = (
        bench.figures[f"{UNSEEN}, ours: precision_at_1"],
        bench.figures[f"{UNSEEN}, {RAW}: precision_at_1"],
    )
    lines.append(Measure("Q4", f"precision@1 of {UNSEEN}", ours, raw, RAW, "of", 1.0, unit=""))
    added, before = (bench.figures[f"{name}: precision_at_1"] for name in ("added", "existing"))
    lines.append(
        Measure(
            "Q5",
            "precision@1 of products added since training",
            added,
            before,
            "existing ones, not trained on",
            "peer-ours",
            0.01,
            unit="",
        )
    )
    return lines


def _quality(bench: Bench, name: str, goals: dict[str, float], goal: str) -> list[Measure]:
    return [
        Measure(
            goal if len(goals) == 1 else f"{goal}_{metric}",
            f"{metric}, {name}",
            bench.figures[f"{name}: {metric}"],
            bench.figures[f"{RAW}: {metric}"],
            RAW,
            "ours",
            value,
            unit="",
        )
        for metric, value in goals.items()
    ]
