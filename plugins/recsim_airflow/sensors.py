"""`DeltaChangeDataFeedSensor` waits for a commit of a Delta table without a worker."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypedDict

from airflow.sdk import Asset, BaseOperator, BaseSensorOperator, Context
from airflow.sdk.exceptions import (
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferralTimeout,
)

from recsim_airflow.asset_state import recorded_cursor
from recsim_airflow.commits import (
    ChangeFeedOffError,
    TableHead,
    UnreadableTableError,
    VersionCondition,
    wait_status,
)
from recsim_airflow.hooks import DeltaTableHook
from recsim_airflow.status_line import STATUS_LINE_TEMPLATE, set_status_line
from recsim_airflow.triggers import DeltaChangeDataFeedTrigger
from recsim_tasks.contracts import Cursor


class VersionRange(TypedDict):
    """The XCom of the sensor: new versions of a table, both ends inclusive."""

    table_id: str
    start_version: int
    end_version: int
    n_commits: int


class DeltaChangeDataFeedSensor(BaseSensorOperator):
    """Wait for a commit of a Delta table whose change data feed is on, and return the range of new versions.

    Looks once in the worker, so that a commit that is already there needs no trigger; then waits in the
    triggerer. The XCom has `table_id`, `start_version` and `end_version`, both inclusive, and `n_commits`,
    which is 0 when there is no new version. Only a timeout skips, and only with `soft_fail`: every error
    while waiting fails the task.

    :param table_uri: the table's location (templated)
    :param min_version: the version to wait for (templated); None waits for the first one after the cursor
    :param cursor_of: the watched asset whose state store has the cursor; without one every version is new
    :param conn_id: Airflow connection with the credentials of the table's object store

    .. code-block:: python

        ingest = RecsimJobOperator(task_id="ingest", job="ingest")
        wait = DeltaChangeDataFeedSensor(
            task_id="wait", table_uri="s3://lake/products", min_version=VERSION_OF_INGEST, conn_id="lake"
        )
        ingest >> wait
    """

    template_fields: Sequence[str] = ("table_uri", "min_version")
    ui_color = "#e2f3e6"

    def __init__(
        self,
        *,
        table_uri: str,
        min_version: int | str | None = None,
        cursor_of: Asset | None = None,
        conn_id: str | None = None,
        poke_interval: float = 5,
        soft_fail: bool = True,
        **kwargs: Any,
    ) -> None:
        inlets = [cursor_of] if cursor_of else []
        super().__init__(
            poke_interval=poke_interval,
            soft_fail=soft_fail,
            inlets=inlets,
            map_index_template=STATUS_LINE_TEMPLATE,
            **kwargs,
        )
        self.table_uri = table_uri
        self.min_version = min_version
        self.cursor_of = cursor_of
        self.conn_id = conn_id

    def execute(self, context: Context) -> VersionRange:
        """Return at once if the commit is there, else wait in the triggerer."""
        condition = self._condition(context)
        after = condition.after.as_json() if condition.after else None
        head = self._head(context)
        if wait_status(self.table_uri, head, condition).kind != "wait":
            return self._conclude(context, head, condition)
        trigger = DeltaChangeDataFeedTrigger(
            table_uri=self.table_uri,
            min_version=condition.min_version,
            after=after,
            poll_interval=self.poke_interval,
            conn_id=self.conn_id,
        )
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"after": after},
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(
        self, context: Context, event: dict[str, Any], after: dict[str, str | int] | None
    ) -> VersionRange:
        """Apply the same rule to the head that the trigger saw."""
        if error := event.get("error"):
            set_status_line(context, error, level=logging.ERROR)
            raise UnreadableTableError(error)
        condition = VersionCondition(self._min_version, Cursor.from_json(after) if after else None)
        return self._conclude(context, TableHead(**event["head"]), condition)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the wait.

        With `soft_fail` the base class would skip for every error, even for a crashed trigger.
        """
        try:
            return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            return self._time_out(context)
        except TaskDeferralError as error:
            set_status_line(
                context,
                f"The triggerer could not wait for {self.table_uri}: {error}. "
                "See its log, then clear this task.",
                level=logging.ERROR,
            )
            raise

    def _condition(self, context: Context) -> VersionCondition:
        """What to wait for.

        The cursor is read once per wait, because another refresh may move it meanwhile.
        """
        after = recorded_cursor(context, self.cursor_of) if self.cursor_of else None
        return VersionCondition(self._min_version, after)

    @property
    def _min_version(self) -> int | None:
        return None if self.min_version is None else int(self.min_version)

    def _head(self, context: Context) -> TableHead | None:
        try:
            return DeltaTableHook(self.table_uri, self.conn_id).get_head()
        except UnreadableTableError as error:
            set_status_line(context, str(error), level=logging.ERROR)
            raise

    def _conclude(
        self, context: Context, head: TableHead | None, condition: VersionCondition
    ) -> VersionRange:
        status = wait_status(self.table_uri, head, condition)
        if status.kind != "ready" or head is None:
            set_status_line(context, status.sentence, level=logging.ERROR)
            raise ChangeFeedOffError(status.sentence)
        set_status_line(context, status.sentence)
        start = condition.start(head)
        return {
            "table_id": head.table_id,
            "start_version": start,
            "end_version": head.version,
            "n_commits": head.version - start + 1,
        }

    def _time_out(self, context: Context) -> VersionRange:
        """Look once more: if no triggerer ran, the table has not been read since the wait began."""
        head, condition = self._head(context), self._condition(context)
        status = wait_status(self.table_uri, head, condition)
        if status.kind != "wait":
            return self._conclude(context, head, condition)
        sentence = f"Waited {self.timeout:.0f} s: {status.sentence}"
        set_status_line(context, sentence, level=logging.WARNING)
        raise AirflowSkipException(sentence) if self.soft_fail else AirflowSensorTimeout(sentence)
