"""`make bench-distinct`: measure which copies `distinct` finds, and which products it takes for copies."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from PIL import Image

from benchmarks.distinct.copies import copies, in_colour, others
from benchmarks.learning.quality import PREPROCESSING, train_encoder, write_products
from benchmarks.report import Measure, last_line, machine, table
from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.fashion_mnist import load as load_fashion_mnist
from recsim_tasks.arrays import AnyArray, BoolArray, UInt8Array
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.learning.preprocessing import resize_and_pad
from recsim_tasks.vectors.thumbnails import MEAN_DIFFERENCE, THUMBNAIL_BYTES, distinct_mask, thumbnail

Images = Sequence[Image.Image]
# Two images count as copies when at most so many of 64 bits of their perceptual hashes differ, or when the
# cosine of their embeddings is at least this.
BITS, COSINE = 4, 0.999
STATED = ("JPEG, quality 75", "half the size, bicubic")


@dataclass(frozen=True)
class Method:
    """A method to recognise copies: features of images [n, ...], and which pairs are copies, bool [n]."""

    name: str
    features: Callable[[Images], AnyArray]
    are_copies: Callable[[AnyArray, AnyArray], BoolArray]
    pairs: Callable[[AnyArray], AnyArray]
    """The rows [p, 2] of all pairs among n images that are copies."""

    def taken_for_copies(self, images: Images) -> int:
        """Count how many of `images`, all different, are taken for a copy of another one."""
        return len(np.unique(self.pairs(self.features(images))))


def main() -> None:
    """Measure, print."""
    arguments = _arguments()
    for name in [name for name in os.environ if name.startswith("RECSIM_")]:
        del os.environ[name]
    data = load_fashion_mnist()
    with tempfile.TemporaryDirectory(prefix="recsim-bench-") as folder:
        settings = load_settings().model_copy(
            update={"home": Path(folder) / "home", "image_size": 28, "image_channels": 1, "ranks": 1}
        )
        methods = [
            OURS,
            PHASH,
            *([cosine(settings, data, arguments.train, Path(folder) / "model")] if arguments.train else []),
        ]
        small = [Image.fromarray(pixels) for pixels in data.test_images[: arguments.images]]
        recognised = shares(methods, small)
        large = list(in_colour(arguments.folder))
        recognised[f"thumbnails, {len(large):,} images in colour"] = shares([OURS], large)[OURS.name]
        merged = {method.name: method.taken_for_copies(small) for method in methods}
    print(f"{machine('pillow', 'faiss-cpu')}; {len(small):,} images of 28 pixels.\n\n{_table(recognised)}\n")
    for name, count in merged.items():
        print(f"Of {len(small):,} different products, {name} takes {count:,} for copies.")
    pairs = near_pairs(thumbnails([Image.fromarray(pixels) for pixels in data.train_images]))
    print(
        f"Of {len(data.train_images):,} different products, thumbnails takes {len(np.unique(pairs)):,} "
        f"for copies, in {len(pairs):,} pairs."
    )
    lines = goals(recognised, merged, len(small))
    print("", table(lines), last_line(lines), sep="\n")


def shares(methods: Sequence[Method], images: Images) -> dict[str, dict[str, float]]:
    """Measure by method and change the share of `images` whose changed version is recognised as a copy."""
    plain = {method.name: method.features(images) for method in methods}
    recognised: dict[str, dict[str, float]] = {method.name: {} for method in methods}
    for name, change in {**copies(), **others()}.items():
        changed = [change(image) for image in images]
        for method in methods:
            recognised[method.name][name] = float(
                method.are_copies(plain[method.name], method.features(changed)).mean()
            )
    return recognised


def near_pairs(thumbnails: AnyArray) -> AnyArray:
    """Return the rows [p, 2] of all pairs of copies among thumbnails uint8 [n, 147]."""
    index, values = faiss.IndexFlatL2(THUMBNAIL_BYTES), thumbnails.astype(np.float32)
    index.add(values)
    limits, _, right = index.range_search(values, MEAN_DIFFERENCE**2 * THUMBNAIL_BYTES + 0.5)
    left = np.repeat(np.arange(len(thumbnails)), np.diff(limits.astype(np.int64)))
    pairs = np.stack([left, right], axis=1)[left < right]
    return np.asarray(pairs[_copies(thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]])])


def goals(recognised: dict[str, dict[str, float]], merged: dict[str, int], products: int) -> list[Measure]:
    """Return the goals: copies are found, and different products are kept apart."""
    ours, peer = (min(recognised[method.name][name] for name in STATED) for method in (OURS, PHASH))
    apart, peer_apart = (1 - merged[method.name] / products for method in (OURS, PHASH))
    return [
        Measure("C1", "copies found: JPEG 75, half the size", ours, peer, PHASH.name, "ours", 0.99, unit=""),
        Measure("C2", "different products kept apart", apart, peer_apart, PHASH.name, "ours", 0.998, unit=""),
    ]


def thumbnails(images: Images) -> UInt8Array:
    """Return the thumbnails uint8 [n, 147]."""
    return np.frombuffer(b"".join(map(thumbnail, images)), np.uint8).reshape(len(images), THUMBNAIL_BYTES)


def phash(images: Images) -> BoolArray:
    """Return bits [n, 64]: which of the 64 lowest coefficients of the cosine transform exceed their median.

    As in http://www.hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html and the package
    ImageHash.
    """
    from scipy.fft import dctn  # type: ignore[import-untyped]

    small = np.stack(
        [
            np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float32)
            for image in images
        ]
    )
    lowest = dctn(small, axes=(1, 2))[:, :8, :8].reshape(len(images), -1)
    return np.asarray(lowest > np.median(lowest, axis=1, keepdims=True))


def cosine(settings: Settings, data: FashionMnist, images: int, folder: Path) -> Method:
    """Train an encoder on `images` images, counted with repetition, and compare its embeddings."""
    cursor = write_products(settings.products_uri, data, np.arange(len(data.train_images)))
    embed, _ = train_encoder(settings, cursor, images, folder)
    return Method(
        f"cosine ≥ {COSINE}",
        lambda images: np.asarray(
            embed(np.stack([resize_and_pad(image, PREPROCESSING)[..., 0] for image in images]))
        ),
        lambda one, other: np.asarray(np.einsum("nd,nd->n", one, other) >= COSINE),
        lambda vectors: np.argwhere(np.triu(vectors @ vectors.T >= COSINE, 1)),
    )


def _signs(bits: AnyArray) -> AnyArray:
    return np.where(bits, 1, -1).astype(np.float32)


def _copies(one: AnyArray, other: AnyArray) -> BoolArray:
    return np.array([not distinct_mask(np.stack(pair), 2)[1] for pair in zip(one, other, strict=True)], bool)


def _table(recognised: dict[str, dict[str, float]]) -> str:
    lines = [
        "| share recognised after | " + " | ".join(recognised) + " |",
        "|---|" + "---|" * len(recognised),
    ]
    lines += [
        f"| {change} | " + " | ".join(f"{by[change]:.3f}" for by in recognised.values()) + " |"
        for change in {**copies(), **others()}
    ]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-distinct", description=__doc__)
    parser.add_argument(
        "--images", type=int, default=10_000, help="images of 28 pixels to change (default %(default)s)"
    )
    parser.add_argument(
        "--train",
        type=int,
        default=60_000,
        help="images to train the compared encoder on; 0 leaves it out (default %(default)s)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="folder of images in colour (default: tiles of photographs in the environment)",
    )
    return parser.parse_args(sys.argv[1:])


OURS = Method("thumbnails", thumbnails, _copies, near_pairs)
PHASH = Method(
    f"pHash, {BITS} of 64 bits",
    phash,
    lambda one, other: np.asarray((one != other).sum(axis=1) <= BITS),
    lambda bits: np.argwhere(np.triu(_signs(bits) @ _signs(bits).T >= 64 - 2 * BITS, 1)),
)

if __name__ == "__main__":
    main()
