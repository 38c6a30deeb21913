"""Who gets which product: drawn from the product's id and the seed, so that nobody has to hand lists around. Pure."""

from __future__ import annotations

import hashlib


def lot(product_id: str, purpose: str, seed: int) -> float:
    """Draw a number in [0, 1) that is the same wherever it is drawn for this product, purpose and seed."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{product_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def rank_of(product_id: str, seed: int, ranks: int) -> int:
    """Name the one rank of `ranks` whose shard has this product."""
    return min(int(lot(product_id, "rank", seed) * ranks), ranks - 1)
