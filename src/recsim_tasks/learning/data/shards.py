"""Who gets which image: drawn from its hash and the seed, so that nobody has to hand lists around. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsim_tasks.arrays import Float64Array, Int64Array, UInt64Array

# Streams that draw independently for the same image.
SHARE, RANK = 1, 2


def places(image_hashes: Sequence[str]) -> tuple[Float64Array, UInt64Array]:
    """Of SHA-256s in hexadecimal: the number in [0, 1) that decides the split, and a key, uint64, for everything else that is drawn."""
    digits = np.frombuffer(bytes.fromhex("".join(image_hashes)), ">u8").reshape(len(image_hashes), 4)
    return digits[:, 0].astype(np.uint64) / 2.0**64, digits[:, 1].astype(np.uint64)


def lots(keys: UInt64Array, purpose: int, seed: int) -> Float64Array:
    """Draw a number in [0, 1) for each key [n], the same wherever it is drawn for this purpose and seed.

    The mixing is SplitMix64's: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        mixed = keys + np.uint64((2 * seed + 1) & 0xFFFFFFFFFFFFFFFF) * np.uint64(
            0x9E3779B97F4A7C15
        ) * np.uint64(purpose)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) / 2.0**53


def ranks_of(keys: UInt64Array, seed: int, ranks: int) -> Int64Array:
    """Name for each key the one rank of `ranks` whose shard has the image."""
    return np.asarray((lots(keys, RANK, seed) * ranks).astype(np.int64))
