"""The goals P1 to P7 and P14, and the figures that they are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.report import Measure, Ratio
from benchmarks.vectors.embedding_rounds import SHARES

GIB = 6.0


@dataclass(frozen=True)
class _Comparison:
    """A line of the table: `name` of the goal and the names of both times."""

    name: str
    what: str
    ours: str
    peer: str
    against: str
    ratio: Ratio = "ours/peer"
    goal: float | None = None

    def measure(self, bench: Bench) -> Measure:
        ours, peer = bench.median(self.ours), bench.median(self.peer)
        return Measure(self.name, self.what, ours, peer, self.against, self.ratio, self.goal)


def index_measures(bench: Bench, small: int, large: int) -> list[Measure]:
    """Return measures of additions, churn, speed at a recall, our layer and mapped files."""
    additions = f"a product added to {small:,}, 1% at a time, found afterwards"
    itself = f"itself at {small:,}"
    large_additions = _Comparison(
        "P2", f"a product added to {large:,}", "tight ours add 1%", "small add 1%", itself, goal=3.0
    )
    lines = [
        *(
            _Comparison(name, additions, "small add 1%", f"{peer} add 1%", peer, "peer/ours", goal)
            for name, peer, goal in ADDS
        ),
        large_additions,
        *_speeds(large),
        *_layer("small", small),
        *_layer("large", large),
    ]
    return [
        *(line.measure(bench) for line in lines),
        *(_lost(bench, name, who, goal) for name, who, goal in CHURNED),
    ]


ADDS = (
    ("P1", "TF Similarity", 500.0),
    ("add_hnswlib", "hnswlib", None),
    ("add_usearch", "usearch", None),
    ("add_numpy", "NumPy", None),
)
CHURNED = (("P3", "ours", 0.005), ("churn_hnswlib", "hnswlib", None), ("churn_usearch", "usearch", None))


def scale_measures(bench: Bench, rows: int, dimensions: int) -> list[Measure]:
    """Return the time and memory of a million products."""
    times = [name for name in bench.times if name.startswith("scale ")]
    build = bench.median("scale build")
    lines = [
        Measure(
            name.replace(" ", "_"),
            f"{name.removeprefix('scale ')}, {rows:,} x {dimensions}",
            bench.median(name),
            build,
            "its build",
        )
        for name in times
    ]
    memory = Measure(
        "scale_memory",
        f"peak memory, {rows:,} x {dimensions}",
        bench.figures["scale GiB"],
        GIB,
        "limit",
        goal=1.0,
        unit="GiB",
    )
    return [memory, *lines]


def embedding_measures(bench: Bench) -> list[Measure]:
    """Return measures of the encoder in several runtimes, with two threads each."""
    ours = bench.median("ours batch 1024")
    best = min(ours, bench.median("ONNX Runtime batch 1024"))
    batches = "an image embedded, batches of 1,024"
    return [
        *(line.measure(bench) for line in RUNTIMES),
        Measure("P7_best", batches, ours, best, "the best of all runtimes", "peer/ours", 0.95),
    ]


RUNTIMES = (
    _Comparison(
        "P7_predict",
        "an image embedded, batches of 1,024",
        "ours batch 1024",
        "Keras predict batch 1024",
        "Keras predict",
        "peer/ours",
        1.0,
    ),
    _Comparison(
        "embed_256",
        "an image embedded, batches of 256",
        "ours batch 256",
        "ONNX Runtime batch 256",
        "ONNX Runtime",
        "peer/ours",
    ),
    _Comparison(
        "P7_single",
        "one image alone",
        "ours single",
        "Keras predict single",
        "Keras predict",
        "peer/ours",
        100.0,
    ),
    _Comparison(
        "single_onnx",
        "one image alone",
        "ours single",
        "ONNX Runtime single",
        "ONNX Runtime",
        "peer/ours",
    ),
)


def refresh_measures(bench: Bench, name: str, count: int) -> list[Measure]:
    """Return measures of refreshes compared with embedding and indexing everything, in a running session."""
    whole = bench.median(f"{name} embed all") + bench.median(f"{name} index all")
    start = bench.median("Spark session")
    lines = [
        Measure(
            f"refresh_{name}_start",
            f"Spark session, once per refresh, {count:,} products",
            start,
            whole,
            "embed and index all",
        ),
    ]
    for share in SHARES:
        taken = bench.median(f"{name} embed {share}") + bench.median(f"{name} index {share}")
        key = {("small", 0.01): "P14", ("large", 0.01): "P14_large"}.get(
            (name, share), f"refresh_{name}_{share:g}"
        )
        what = f"embed and index {share:.1%} of {count:,}"
        lines.append(
            Measure(key, what, taken, whole, "embed and index all", goal=0.03 if share == 0.01 else None)
        )
    return lines


def _lost(bench: Bench, name: str, who: str, goal: float | None) -> Measure:
    churned, fresh = (bench.figures[f"recall {who} {how}"] for how in ("churned", "fresh"))
    return Measure(
        name,
        f"recall@10 after 20 x 5% of churn, {who}",
        churned,
        fresh,
        "rebuilt",
        "peer-ours",
        goal,
        unit="",
    )


def _speeds(large: int) -> list[_Comparison]:
    lines = []
    for name, spread in (("P4", "tight"), ("P4_loose", "loose")):
        what = f"a query of {large:,} x 64 at recall@10 0.99, clusters {spread}"
        lines.append(
            _Comparison(
                name,
                what,
                f"{spread} ours query",
                f"{spread} hnswlib query",
                "hnswlib",
                "peer/ours",
                1.0,
            )
        )
        what = f"a vector added to {large:,} x 64, clusters {spread}"
        lines.append(
            _Comparison(
                f"add_{spread}",
                what,
                f"{spread} ours add 1%",
                f"{spread} hnswlib add 1%",
                "hnswlib",
                "peer/ours",
            )
        )
    return lines


def _layer(name: str, count: int) -> list[_Comparison]:
    key = "" if name == "large" else f"_{name}"
    return [
        _Comparison(
            f"P5{key}",
            f"one query of {count:,}",
            f"{name} single ours",
            f"{name} single bare",
            "FAISS alone",
            "ours-peer",
            50e-6,
        ),
        _Comparison(
            f"P5_batch{key}",
            f"a query of {count:,}, batches of 1,000",
            f"{name} batch ours",
            f"{name} batch bare",
            "FAISS alone",
            goal=1.1,
        ),
        _Comparison(
            f"P6_open{key}",
            f"open {count:,} for search, by mapping it",
            f"{name} map",
            f"{name} load",
            "load into memory",
            goal=0.5,
        ),
        _Comparison(
            f"P6_search{key}",
            f"one query of {count:,} in a mapped file",
            f"{name} single mapped",
            f"{name} single bare",
            "in memory",
            "peer/ours",
            0.9,
        ),
        _Comparison(
            f"open{key}",
            f"open {count:,} with products, digests checked",
            f"{name} open",
            f"{name} load",
            "FAISS, without checks",
        ),
    ]
