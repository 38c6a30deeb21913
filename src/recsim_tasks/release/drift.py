"""How far the images that a release took in lie from those that the champion held."""

from __future__ import annotations

import numpy as np

from recsim_tasks.vectors.exact import Floats
from recsim_tasks.vectors.index import Index

# The mean of fewer embeddings says more of the few than of the catalogue.
FEWEST_IMAGES = 100


def drift(challenger: Index, champion: Index) -> float | None:
    """Cosine distance, 0 to 2, of the mean embedding of what is new in `challenger` and of the mean of what `champion` holds as well.

    None when their models differ, so that the embeddings cannot be compared, or either side has fewer than 100 products.
    """
    import pyarrow.compute as pc

    if challenger.metadata["model_fingerprint"] != champion.metadata["model_fingerprint"]:
        return None
    held = pc.is_in(challenger.items["image_hash"], value_set=champion.items["image_hash"].combine_chunks())
    old = np.asarray(held, bool)
    if min(old.sum(), (~old).sum()) < FEWEST_IMAGES:
        return None
    _, vectors = challenger.all_vectors()
    return _distance(vectors[~old].mean(axis=0), vectors[old].mean(axis=0))


def _distance(one: Floats, other: Floats) -> float:
    return float(1 - one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
