"""Keep the tables small: compact their files, remove those that no reader within the retention needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recsim_tasks.catalogue.delta.change_feed import RETENTIONS, parse_days
from recsim_tasks.catalogue.delta.reader import open_if_exists
from recsim_tasks.catalogue.delta.storage_errors import translate_errors
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings

DELETED_FILES = "delta.deletedFileRetentionDuration"


def maintain(settings: Settings) -> dict[str, dict[str, int]]:
    """Compact and vacuum every table, and expire withdrawals; returns the numbers of files by table.

    Each table is changed under its lease. Files are kept for `settings.retention_days`, or longer if the
    table's own retention says so.
    """
    expire_withdrawals(settings)
    uris = {
        "products": settings.products_uri,
        "quarantine": settings.quarantine_uri,
        "withdrawals": settings.withdrawals_uri,
        "embeddings": settings.embeddings_uri,
    }
    return {name: _compact_and_vacuum(settings, uri) for name, uri in uris.items() if open_if_exists(uri)}


def expire_withdrawals(settings: Settings) -> None:
    """Delete withdrawals that are older than `settings.retention_days`: no delivery is that late."""
    uri, oldest = settings.withdrawals_uri, datetime.now(UTC) - timedelta(days=settings.retention_days)
    with lease(settings.home, uri), translate_errors(uri):
        if table := open_if_exists(uri):
            table.delete(f"at < '{oldest.isoformat()}'")


def _compact_and_vacuum(settings: Settings, uri: str) -> dict[str, int]:
    from deltalake import DeltaTable

    with lease(settings.home, uri), translate_errors(uri):
        compacted = DeltaTable(uri).optimize.compact()
        table = DeltaTable(uri)
        retention = table.metadata().configuration.get(DELETED_FILES)
        days = max(settings.retention_days, parse_days(retention) if retention else RETENTIONS[DELETED_FILES])
        removed = table.vacuum(retention_hours=round(24 * days), dry_run=False)
    return {
        "files_compacted": int(compacted["numFilesRemoved"]),
        "files_written": int(compacted["numFilesAdded"]),
        "files_vacuumed": len(removed),
    }
