"""Where Spark runs, and with how much memory."""

from __future__ import annotations

from pydantic import Field

from recsim_tasks.foundation.settings.fields import Count, Location, SettingsGroup


class SparkSettings(SettingsGroup):
    """Where Spark runs, and with how much."""

    spark_master: Location = Field(
        "local[2]", description="Spark master that ingest, embedding, tuning and training run on."
    )
    spark_driver_memory: str = Field("2g", description="Memory of the Spark driver, in Spark's notation.")
    spark_shuffle_partitions: Count = Field(
        4, description="Partitions of a shuffle; raise it with the size of the cluster."
    )

    @property
    def is_local(self) -> bool:
        """Whether Spark's tasks run on this machine, within the driver."""
        return is_local(self.spark_master)


def is_local(master: str) -> bool:
    """Whether `master` runs tasks in the driver, which `local-cluster` does not."""
    return master == "local" or master.startswith("local[")
