"""What the demo and the tests ask of an Airflow, over its REST API: milliseconds, where the command line takes seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from recsim_tasks.foundation.errors import RecsimError, UnavailableError

Json = dict[str, Any]
OnChange = Callable[[str, str], None]

FINISHED = {"success", "failed"}
# Each look costs the API server a few hundredths of a second of a core that a training may want.
POLL = 1.5
# Long, because a training on the same machine takes the cores.
TIMEOUT = 60.0
READ_TRIES = 3


class AirflowApi:
    """A client of one Airflow; call `log_in` first.

    :param url: where Airflow answers
    :param username: a user of it
    :param password: the user's password
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self.username = username
        self.password = password
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT)

    def log_in(self) -> None:
        """Take a token for all further calls; it is good for a day."""
        self._client.headers["Authorization"] = f"Bearer {self.token()}"

    def token(self) -> str:
        """A token of this user, as the pages keep it in their cookie `_token`."""
        answer = self._send("POST", "/auth/token", {"username": self.username, "password": self.password})
        return str(_json(answer)["access_token"])

    def trigger(self, dag_id: str, conf: Json | None = None) -> str:
        """Start a run by hand; its id."""
        return str(
            self._call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})[
                "dag_run_id"
            ]
        )

    def runs(self, dag_id: str) -> list[Json]:
        """All runs of a DAG, oldest first."""
        return list(self._call("GET", f"/dags/{dag_id}/dagRuns?order_by=id&limit=100")["dag_runs"])

    def wait_for_run(self, dag_id: str, after: int, timeout: float = 120) -> str:
        """Wait until the DAG has more than `after` runs, as when a feed has landed; the id of the next one."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if len(runs := self.runs(dag_id)) > after:
                return str(runs[after]["dag_run_id"])
            self.check()
            time.sleep(POLL)
        raise RecsimError(
            f"No run of {dag_id} has started within {timeout:.0f} s. See {self.url}/dags/{dag_id} and the triggerer's log."
        )

    def wait(
        self,
        dag_id: str,
        run_id: str,
        on_change: OnChange | None = None,
        on_poll: Callable[[], None] | None = None,
        timeout: float = 7200,
    ) -> Json:
        """Wait for the end of a run, telling `on_change(task_id, state)` of each change, and `on_poll` of each look; the run."""
        known: dict[str, str] = {}
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            run = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
            for task_id, state in self._changes(dag_id, run_id, known):
                if on_change:
                    on_change(task_id, state)
            if run["state"] in FINISHED:
                return dict(run)
            if on_poll:
                on_poll()
            self.check()
            time.sleep(POLL)
        raise RecsimError(
            f"Run {run_id} of {dag_id} has not ended within {timeout:.0f} s. See {self.url}/dags/{dag_id}/runs/{run_id}."
        )

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """The task instances of a run."""
        return list(
            self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
        )

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task as somebody does on its page; a running one is killed."""
        self._call("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": state})

    def pause(self, dag_id: str, paused: bool) -> None:
        """Switch a DAG off, or on again."""
        self._call("PATCH", f"/dags/{dag_id}", {"is_paused": paused})

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a task that waits for somebody, as this user."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self._call("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def question(self, dag_id: str, run_id: str, task_id: str) -> Json:
        """What a task that waits for somebody asks: `subject`, `body`, ..."""
        return dict(
            self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails")
        )

    def state_of_asset(self, name: str) -> Json:
        """What is kept in an asset's state store, by key."""
        (asset,) = (
            asset
            for asset in self._call("GET", f"/assets?name_pattern={name}")["assets"]
            if asset["name"] == name
        )
        kept = self._call("GET", f"/assets/{asset['id']}/state-store")["asset_state_store"]
        return {entry["key"]: entry["value"] for entry in kept}

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task left under `key`; `None` if nothing."""
        answer = self._send(
            "GET",
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=true",
        )
        return None if answer.status_code == httpx.codes.NOT_FOUND else _json(answer)["value"]

    def logs(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """The log of one try of a task, one line an event."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        content = self._call("GET", path)["content"]
        return "\n".join(
            str(event.get("event", event)) if isinstance(event, dict) else str(event) for event in content
        )

    def check(self) -> None:
        """Raise if waiting has become useless. This one never knows; who runs the Airflow does."""

    def _changes(self, dag_id: str, run_id: str, known: dict[str, str]) -> Iterator[tuple[str, str]]:
        for instance in self.task_instances(dag_id, run_id):
            task_id, state = instance["task_id"], instance["state"]
            if state and known.get(task_id) != state:
                known[task_id] = state
                yield task_id, state

    def _call(self, method: str, path: str, body: Json | None = None, ignore: int | None = None) -> Any:
        answer = self._send(method, f"/api/v2{path}", body)
        return None if answer.status_code == ignore else _json(answer)

    def _send(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        tries = READ_TRIES if method == "GET" else 1  # asking twice changes nothing, triggering twice does
        while True:
            tries -= 1
            try:
                return self._client.request(method, path, json=body)
            except httpx.HTTPError as error:
                self.check()
                if not tries:
                    raise UnavailableError(
                        f"Airflow at {self.url} does not answer {method} {path}: {error}. Is its api-server running?"
                    ) from error


def _json(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise RecsimError(
            f"Airflow refuses {answer.request.method} {answer.request.url.path} ({answer.status_code}): {answer.text[:300]}"
        )
    return answer.json()
