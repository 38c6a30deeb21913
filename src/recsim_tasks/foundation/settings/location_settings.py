"""Where the data lies: tables, inbox, MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pydantic import Field

from recsim_tasks.foundation.settings.fields import Count, Location, SettingsGroup


class LocationSettings(SettingsGroup):
    """Tables, inbox and MLflow: by default all of them lie under `home`."""

    home: Path = Field(
        Path(".recsim"), description="Folder of the embedded default: tables, MLflow, workspaces."
    )
    inbox: Location | None = Field(
        None, description="Folder in which feeds land, or its URI in an object store; default `HOME/inbox`."
    )
    products: Location | None = Field(
        None, description="URI of the catalogue table; default `HOME/tables/products`."
    )
    quarantine: Location | None = Field(
        None, description="URI of the quarantine table; default `HOME/tables/quarantine`."
    )
    withdrawals: Location | None = Field(
        None, description="URI of the table of dated deletions; default `HOME/tables/withdrawals`."
    )
    embeddings: Location | None = Field(
        None, description="URI of the embeddings table; default `HOME/tables/embeddings`."
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        validation_alias="MLFLOW_TRACKING_URI",
        description="MLflow server (variable `MLFLOW_TRACKING_URI`); default SQLite under `HOME/mlflow`.",
    )
    retention_days: Count = Field(
        30,
        description="Days for which change feed, log and deleted files are kept; longer than any pause.",
    )

    @property
    def inbox_dir(self) -> Path:
        """Folder in which feeds land; in an object store a `UPath`, which is used like a path."""
        if self.inbox and "://" in self.inbox:
            from upath import UPath

            return cast("Path", UPath(self.inbox))
        return Path(self.inbox or self.home / "inbox").absolute()

    @property
    def products_uri(self) -> str:
        """Location of the catalogue."""
        return self.products or self._table("products")

    @property
    def quarantine_uri(self) -> str:
        """Location of the quarantine."""
        return self.quarantine or self._table("quarantine")

    @property
    def withdrawals_uri(self) -> str:
        """Location of the withdrawals."""
        return self.withdrawals or self._table("withdrawals")

    @property
    def embeddings_uri(self) -> str:
        """Location of the embeddings table."""
        return self.embeddings or self._table("embeddings")

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry server."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home.absolute() / 'mlflow' / 'mlflow.db'}"

    def _table(self, name: str) -> str:
        return str(self.home.absolute() / "tables" / name)
