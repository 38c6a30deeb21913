"""A client of Airflow's REST API for the demo and the tests.

Airflow's command line takes seconds per call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Required, TypedDict, cast

import httpx

from recsim_tasks.foundation.errors import RecsimError, UnavailableError

OnChange = Callable[[str, str], None]

FINISHED = {"success", "failed"}
# A request takes the API server a few hundredths of a second of a core, which a training may need.
POLL_SECONDS = 1.5
# Long, because a training on the same machine takes the cores.
TIMEOUT_SECONDS = 60.0
READ_TRIES = 3


class DagRun(TypedDict):
    """A run of a DAG; the fields that are used here."""

    dag_run_id: str
    state: str


class TaskInstance(TypedDict):
    """A task instance of a run; the fields that are read."""

    id: str
    task_id: str
    state: str | None
    try_number: int
    pool: str
    rendered_map_index: str | None
    start_date: str | None
    end_date: str | None


class Question(TypedDict):
    """What a task asks a person."""

    subject: str
    body: str


class LogEvent(TypedDict, total=False):
    """A message of a task's log."""

    event: Required[str]
    level: str
    logger: str


class AirflowApi:
    """A client of one Airflow; call `log_in` first.

    :param url: address of the API server
    :param username: an Airflow user
    :param password: the user's password
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self.username = username
        self.password = password
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS)

    def log_in(self) -> None:
        """Get a token for all further calls; it is valid for a day."""
        self._client.headers["Authorization"] = f"Bearer {self.token()}"

    def token(self) -> str:
        """A token of this user; the UI keeps it in the cookie `_token`."""
        response = self._send("POST", "/auth/token", {"username": self.username, "password": self.password})
        return str(_json(response)["access_token"])

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None) -> str:
        """Trigger a run, and return its id."""
        return str(
            self._call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})[
                "dag_run_id"
            ]
        )

    def runs(self, dag_id: str) -> list[DagRun]:
        """All runs of a DAG, oldest first."""
        return list(self._call("GET", f"/dags/{dag_id}/dagRuns?order_by=id&limit=100")["dag_runs"])

    def wait_for_run(self, dag_id: str, after: int, timeout: float = 120) -> str:
        """Wait for the run that follows the first `after` runs, and return its id."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if len(runs := self.runs(dag_id)) > after:
                return str(runs[after]["dag_run_id"])
            self.check()
            time.sleep(POLL_SECONDS)
        raise RecsimError(
            f"No run of {dag_id} started within {timeout:.0f} s. "
            f"See {self.url}/dags/{dag_id} and the triggerer's log."
        )

    def wait(
        self,
        dag_id: str,
        run_id: str,
        on_change: OnChange | None = None,
        on_poll: Callable[[], None] | None = None,
        timeout: float = 7200,
    ) -> DagRun:
        """Wait for the end of a run, and return it. `on_change(task_id, state)` gets each change."""
        states: dict[str, str] = {}
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            run: DagRun = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
            for task_id, state in self._changes(dag_id, run_id, states):
                if on_change:
                    on_change(task_id, state)
            if run["state"] in FINISHED:
                return run
            if on_poll:
                on_poll()
            self.check()
            time.sleep(POLL_SECONDS)
        raise RecsimError(
            f"Run {run_id} of {dag_id} did not end within {timeout:.0f} s. "
            f"See {self.url}/dags/{dag_id}/runs/{run_id}."
        )

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """The task instances of a run."""
        return list(
            self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
        )

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task as in the UI; a running one is killed."""
        self._call("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": state})

    def pause(self, dag_id: str, paused: bool) -> None:
        """Switch a DAG off, or on again."""
        self._call("PATCH", f"/dags/{dag_id}", {"is_paused": paused})

    def respond(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a task that waits for a person, as this user."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self._call("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def hitl_details(self, dag_id: str, run_id: str, task_id: str) -> Question:
        """The question of a task that waits for a person."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        question: Question = self._call("GET", path)
        return question

    def asset_state(self, name: str) -> dict[str, Any]:
        """The values of an asset's state store, by key."""
        (asset,) = (
            asset
            for asset in self._call("GET", f"/assets?name_pattern={name}")["assets"]
            if asset["name"] == name
        )
        entries = self._call("GET", f"/assets/{asset['id']}/state-store")["asset_state_store"]
        return {entry["key"]: entry["value"] for entry in entries}

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """An XCom of a task; None if there is none."""
        response = self._send(
            "GET",
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
            f"/xcomEntries/{key}?deserialize=true",
        )
        return None if response.status_code == httpx.codes.NOT_FOUND else _json(response)["value"]

    def logs(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """The messages of a task's log, one per line."""
        return "\n".join(
            str(event["event"]) for event in self.log_events(dag_id, run_id, task_id, try_number)
        )

    def log_events(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[LogEvent]:
        """The log of one try of a task."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        content = self._call("GET", path)["content"]
        events = (event if isinstance(event, dict) else {"event": event} for event in content)
        return [cast(LogEvent, event) for event in events]

    def check(self) -> None:
        """Raise if Airflow can no longer answer. Overridden by the class that runs the processes."""

    def _changes(self, dag_id: str, run_id: str, states: dict[str, str]) -> Iterator[tuple[str, str]]:
        for instance in self.task_instances(dag_id, run_id):
            task_id, state = instance["task_id"], instance["state"]
            if state and states.get(task_id) != state:
                states[task_id] = state
                yield task_id, state

    def _call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, ignore: int | None = None
    ) -> Any:
        response = self._send(method, f"/api/v2{path}", body)
        return None if response.status_code == ignore else _json(response)

    def _send(self, method: str, path: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        tries = READ_TRIES if method == "GET" else 1  # a repeated GET is harmless, a repeated POST is not
        while True:
            tries -= 1
            try:
                return self._client.request(method, path, json=body)
            except httpx.HTTPError as error:
                self.check()
                if not tries:
                    raise UnavailableError(
                        f"Airflow at {self.url} does not answer {method} {path}: {error}. "
                        "Check that its api-server is running."
                    ) from error


def _json(response: httpx.Response) -> Any:
    if response.is_error:
        request = f"{response.request.method} {response.request.url.path}"
        if response.is_server_error:
            raise UnavailableError(
                f"Airflow failed to answer {request} ({response.status_code}): {response.text[:300]}"
            )
        raise RecsimError(f"Airflow refused {request} ({response.status_code}): {response.text[:300]}")
    return response.json()
