"""Keep the tables small: compact their files, remove what no reader within the retention can need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from recsim_tasks.catalogue.delta.change_feed import RETENTIONS, days_of
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

DELETED_FILES = "delta.deletedFileRetentionDuration"


def maintain(settings: Settings) -> dict[str, Any]:
    """Compact and vacuum every table, each under its lease; files are kept for `settings.retention_days`, longer where the table asks for it.

    Withdrawals older than that are forgotten.
    """
    from deltalake import DeltaTable

    forget_withdrawals(settings)
    uris = {
        "products": settings.products_uri,
        "quarantine": settings.quarantine_uri,
        "withdrawals": settings.withdrawals_uri,
        "embeddings": settings.embeddings_uri,
    }
    return {name: _maintain(settings, uri) for name, uri in uris.items() if DeltaTable.is_deltatable(uri)}


def forget_withdrawals(settings: Settings) -> None:
    """Forget the withdrawals that were noted more than `settings.retention_days` ago: no delivery is that late."""
    from deltalake import DeltaTable

    if DeltaTable.is_deltatable(settings.withdrawals_uri):
        oldest = datetime.now(UTC) - timedelta(days=settings.retention_days)
        with lease(settings.home, settings.withdrawals_uri):
            DeltaTable(settings.withdrawals_uri).delete(f"at < '{oldest.isoformat()}'")


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
