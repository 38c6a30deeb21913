"""Assigns images to splits and ranks by their hashes and the seed, so that no lists are exchanged. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsim_tasks.arrays import Float64Array, Int64Array, UInt64Array

# Purposes for which numbers are drawn independently for the same image.
SUBSAMPLE, RANK = 1, 2


def fractions_and_keys(image_hashes: Sequence[str]) -> tuple[Float64Array, UInt64Array]:
    """For SHA-256s (hexadecimal): numbers in [0, 1) that decide the split, and keys for other draws."""
    digits = np.frombuffer(bytes.fromhex("".join(image_hashes)), ">u8").reshape(len(image_hashes), 4)
    return digits[:, 0].astype(np.uint64) / 2.0**64, digits[:, 1].astype(np.uint64)


def uniform_draws(keys: UInt64Array, purpose: int, seed: int) -> Float64Array:
    """Draw a number in [0, 1) for each key [n]; always the same for the same purpose and seed.

    Mixes as SplitMix64 does: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators",
    OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        step = np.uint64((2 * seed + 1) & 0xFFFFFFFFFFFFFFFF) * np.uint64(0x9E3779B97F4A7C15)
        mixed = keys + step * np.uint64(purpose)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) / 2.0**53


def assigned_ranks(keys: UInt64Array, seed: int, ranks: int) -> Int64Array:
    """The rank, of `ranks`, whose shard has each image, int64 [n]."""
    return np.asarray((uniform_draws(keys, RANK, seed) * ranks).astype(np.int64))
