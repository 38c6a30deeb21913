"""What keeps the tables small, and needs no refresh."""

from __future__ import annotations

from typing import Any

from recsim_tasks.foundation.settings import Settings


def maintain(settings: Settings) -> dict[str, Any]:
    """Compact and vacuum the tables, after the embeddings of models that no release of the registry uses were removed."""
    from recsim_tasks.catalogue.delta.maintenance import maintain as maintain_tables
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.vectors.embeddings import delete_unused_embeddings

    forgotten = delete_unused_embeddings(settings, Registry(settings).model_fingerprints())
    return {**maintain_tables(settings), "models_forgotten": forgotten}
