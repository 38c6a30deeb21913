"""Keep the tables small: compact their files, remove what no reader within the retention can need."""

from __future__ import annotations

from typing import Any

from recsim_tasks.catalogue.change_range import RETENTIONS, days_of
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

DELETED_FILES = "delta.deletedFileRetentionDuration"


def maintain(settings: Settings) -> dict[str, Any]:
    """Compact and vacuum every table, each under its lease; files are kept for `settings.retention_days`, longer where the table asks for it."""
    from deltalake import DeltaTable

    uris = {
        "products": settings.products_uri,
        "quarantine": settings.quarantine_uri,
        "withdrawals": settings.withdrawals_uri,
        "embeddings": settings.embeddings_uri,
    }
    return {name: _maintain(settings, uri) for name, uri in uris.items() if DeltaTable.is_deltatable(uri)}


def _maintain(settings: Settings, uri: str) -> dict[str, int]:
    from deltalake import DeltaTable

    with lease(settings.home, uri):
        compacted = DeltaTable(uri).optimize.compact()
        table = DeltaTable(uri)
        asked = table.metadata().configuration.get(DELETED_FILES)
        days = max(settings.retention_days, days_of(asked) if asked else RETENTIONS[DELETED_FILES])
        removed = table.vacuum(retention_hours=round(24 * days), dry_run=False)
    return {
        "files_compacted": int(compacted["numFilesRemoved"]),
        "files_written": int(compacted["numFilesAdded"]),
        "files_vacuumed": len(removed),
    }
