from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.catalogue.delta.compaction import maintain
from recsim_tasks.foundation.settings import Settings


def test_withdrawals_expire_after_the_retention(settings: Settings) -> None:
    now = datetime.now(UTC)
    ages = {
        "old": timedelta(days=settings.retention_days, hours=1),
        "young": timedelta(days=settings.retention_days, hours=-1),
    }
    rows = [
        {"product_id": name, "updated_at": now, "feed_id": "f", "at": now - age} for name, age in ages.items()
    ]
    write_deltalake(settings.withdrawals_uri, pa.Table.from_pylist(rows))
    assert maintain(settings).keys() == {"withdrawals"}
    assert DeltaTable(settings.withdrawals_uri).to_pyarrow_table()["product_id"].to_pylist() == ["young"]
