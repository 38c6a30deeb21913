"""`DeltaChangeDataFeedSensor` waits for a commit without holding a worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseOperator, BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferralTimeout

from recsim_airflow.commits import ChangeFeedOffError, TableHead, decide, table_head
from recsim_airflow.reasons import REASON_COLUMN, give_reason
from recsim_airflow.triggers import DeltaCommitTrigger


class DeltaChangeDataFeedSensor(BaseSensorOperator):
    """Wait until a Delta table with its change feed on is at `min_version` or later; give `table_id` and `version`.

    Looks once by itself, so that a commit that is there already costs no trigger; then waits in the triggerer.
    `soft_fail` turns a timeout into a skip, and nothing else: whatever breaks while waiting fails the task.

    :param table_uri: the table's location (templated)
    :param min_version: the version to wait for (templated); 0 waits for the table to exist
    """

    template_fields: Sequence[str] = ("table_uri", "min_version")
    ui_color = "#e2f3e6"

    def __init__(self, *, table_uri: str, min_version: int | str = 0, poke_interval: float = 5, **kwargs: Any) -> None:
        super().__init__(poke_interval=poke_interval, map_index_template=REASON_COLUMN, **kwargs)
        self.table_uri = table_uri
        self.min_version = min_version

    def execute(self, context: Context) -> dict[str, Any]:
        """Return at once if the commit is there, else wait in the triggerer."""
        head = table_head(self.table_uri)
        if decide(self.table_uri, head, int(self.min_version)).kind == "wait":
            self.defer(
                trigger=DeltaCommitTrigger(table_uri=self.table_uri, min_version=int(self.min_version), poll_interval=self.poke_interval),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )
        return self._conclude(context, head)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Check what the trigger saw by the same rule."""
        return self._conclude(context, TableHead(**event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the wait. The base class would skip for every error under `soft_fail`, a crashed trigger's too."""
        try:
            return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self._time_out(context)

    def _conclude(self, context: Context, head: TableHead | None) -> dict[str, Any]:
        decision = decide(self.table_uri, head, int(self.min_version))
        give_reason(context, decision.sentence)
        if decision.kind != "ready" or head is None:
            raise ChangeFeedOffError(decision.sentence)
        return {"table_id": head.table_id, "version": head.version}

    def _time_out(self, context: Context) -> NoReturn:
        decision = decide(self.table_uri, table_head(self.table_uri), int(self.min_version))
        sentence = f"Waited {self.timeout:.0f} s: {decision.sentence}"
        give_reason(context, sentence)
        raise AirflowSkipException(sentence) if self.soft_fail else AirflowSensorTimeout(sentence)
