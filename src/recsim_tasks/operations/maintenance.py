"""Maintenance, which keeps the tables small."""

from __future__ import annotations

from recsim_tasks.contracts import MaintainResult
from recsim_tasks.foundation.settings import Settings


def maintain(settings: Settings) -> MaintainResult:
    """Compact and vacuum the tables, and remove embeddings by models that no release in the registry uses."""
    from recsim_tasks.catalogue.delta.compaction import maintain as maintain_tables
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.vectors.embeddings import delete_unused_embeddings

    forgotten = delete_unused_embeddings(settings, Registry(settings).model_fingerprints())
    return MaintainResult.model_validate({"tables": maintain_tables(settings), "models_forgotten": forgotten})
