"""The goals P1 to P7 and P14, and the figures that they are compared with."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.report import Measure
from benchmarks.vectors.embedding_rounds import SHARES

GIB = 6.0


def index_measures(bench: Bench, small: int, large: int) -> list[Measure]:
    """Return measures of additions, churn, speed at a recall, our layer and mapped files."""
    add = f"a product added to {small:,}, 1 % at a time, found afterwards"
    return [
        *(
            _line(bench, name, add, "small add 1 %", f"{peer} add 1 %", peer, "peer/ours", goal)
            for name, peer, goal in ADDS
        ),
        _line(
            bench,
            "P2",
            f"a product added to {large:,}",
            "tight ours add 1 %",
            "small add 1 %",
            f"itself at {small:,}",
            goal=3.0,
        ),
        *(_lost(bench, name, who, goal) for name, who, goal in CHURNED),
        *_speeds(bench, large),
        *_layer(bench, "small", small),
        *_layer(bench, "large", large),
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
    return [
        _line(
            bench,
            "P7_predict",
            "an image embedded, batches of 1,024",
            "ours batch 1024",
            "Keras predict batch 1024",
            "Keras predict",
            "peer/ours",
            1.0,
        ),
        Measure(
            "P7_best",
            "an image embedded, batches of 1,024",
            ours,
            best,
            "the best of all runtimes",
            "peer/ours",
            0.95,
        ),
        _line(
            bench,
            "embed_256",
            "an image embedded, batches of 256",
            "ours batch 256",
            "ONNX Runtime batch 256",
            "ONNX Runtime",
            "peer/ours",
        ),
        _line(
            bench,
            "P7_single",
            "one image alone",
            "ours single",
            "Keras predict single",
            "Keras predict",
            "peer/ours",
            100.0,
        ),
        _line(
            bench,
            "single_onnx",
            "one image alone",
            "ours single",
            "ONNX Runtime single",
            "ONNX Runtime",
            "peer/ours",
        ),
    ]


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


def _line(
    bench: Bench,
    name: str,
    what: str,
    ours: str,
    peer: str,
    against: str,
    ratio: str = "ours/peer",
    goal: float | None = None,
) -> Measure:
    return Measure(name, what, bench.median(ours), bench.median(peer), against, ratio, goal)  # type: ignore[arg-type]


def _lost(bench: Bench, name: str, who: str, goal: float | None) -> Measure:
    churned, fresh = (bench.figures[f"recall {who} {how}"] for how in ("churned", "fresh"))
    return Measure(
        name,
        f"recall@10 after 20 x 5 % of churn, {who}",
        churned,
        fresh,
        "rebuilt",
        "peer-ours",
        goal,
        unit="",
    )


def _speeds(bench: Bench, large: int) -> list[Measure]:
    lines = []
    for name, spread in (("P4", "tight"), ("P4_loose", "loose")):
        what = f"a query of {large:,} x 64 at recall@10 0.99, clusters {spread}"
        lines.append(
            _line(
                bench,
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
            _line(
                bench,
                f"add_{spread}",
                what,
                f"{spread} ours add 1 %",
                f"{spread} hnswlib add 1 %",
                "hnswlib",
                "peer/ours",
            )
        )
    return lines


def _layer(bench: Bench, name: str, count: int) -> list[Measure]:
    key = "" if name == "large" else f"_{name}"
    return [
        _line(
            bench,
            f"P5{key}",
            f"one query of {count:,}",
            f"{name} single ours",
            f"{name} single bare",
            "FAISS alone",
            "ours-peer",
            50e-6,
        ),
        _line(
            bench,
            f"P5_batch{key}",
            f"a query of {count:,}, batches of 1,000",
            f"{name} batch ours",
            f"{name} batch bare",
            "FAISS alone",
            goal=1.1,
        ),
        _line(
            bench,
            f"P6_open{key}",
            f"open {count:,} for search, by mapping it",
            f"{name} map",
            f"{name} load",
            "load into memory",
            goal=0.5,
        ),
        _line(
            bench,
            f"P6_search{key}",
            f"one query of {count:,} in a mapped file",
            f"{name} single mapped",
            f"{name} single bare",
            "in memory",
            "peer/ours",
            0.9,
        ),
        _line(
            bench,
            f"open{key}",
            f"open {count:,} with products, digests checked",
            f"{name} open",
            f"{name} load",
            "FAISS, without checks",
        ),
    ]
