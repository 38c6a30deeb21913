"""A private Airflow: its own home, ports and secrets, on loopback only; nothing of it is left afterwards.

    with PrivateAirflow(home, dags, env) as airflow:
        run_id = airflow.trigger("recsim_refresh", {"mode": "auto"})
        airflow.wait("recsim_refresh", run_id)

The four processes of a real installation, on SQLite and with tasks as local processes. The one command that is run is
the making of the database; all else goes through the REST API, which answers in milliseconds instead of seconds.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from recsim_demo import guarded
from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.foundation.progress import say

Json = dict[str, Any]
OnChange = Callable[[str, str], None]

USERNAME = "admin"
READY_SECONDS = 90.0
FINISHED = {"success", "failed"}
# Tasks are forked by the scheduler, and each takes about 100 MB: enough for a refresh, which is a chain.
PARALLELISM = 4
COMPONENTS = {
    "api-server": ["api-server", "--workers", "1"],
    # Running tasks' logs are read from the shared folder: a log server would listen on every address.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}


class PrivateAirflow:
    """An Airflow of one's own for as long as the `with` lasts.

    :param home: folder that it may fill: configuration, database, logs of processes and tasks
    :param dags: folder of the DAG files
    :param plugins: folder of the plugins, which is importable in every process
    :param env: variables for the tasks on top of this process's own, such as `RECSIM_HOME`
    """

    def __init__(self, home: Path, dags: Path, plugins: Path, env: dict[str, str] | None = None) -> None:
        self.home = home.absolute()
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.username = USERNAME
        self.password = secrets.token_urlsafe(12)
        self._pools = plugins / "recsim_airflow" / "pools.json"
        self._env = dict(os.environ) | (env or {}) | self._settings(dags.absolute(), plugins.absolute())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._client = httpx.Client(base_url=self.url, timeout=20)

    def __enter__(self) -> Self:
        """Start everything, and return when a run can be triggered."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop everything."""
        self.stop()

    def stop(self) -> None:
        """End all processes and whatever they started: running tasks, and their jobs."""
        self._client.close()
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in reversed(self._processes.values()):
            guarded.stop(process)

    def trigger(self, dag_id: str, conf: Json | None = None) -> str:
        """Start a run by hand; its id."""
        return str(self._call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})["dag_run_id"])

    def runs(self, dag_id: str) -> list[Json]:
        """All runs of a DAG, oldest first."""
        return list(self._call("GET", f"/dags/{dag_id}/dagRuns?order_by=id&limit=100")["dag_runs"])

    def wait_for_run(self, dag_id: str, after: int, timeout: float = 120) -> str:
        """Wait until the DAG has more than `after` runs, as when a feed has landed; the id of the next one."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if len(runs := self.runs(dag_id)) > after:
                return str(runs[after]["dag_run_id"])
            self._check_alive()
            time.sleep(0.5)
        raise RecsimError(
            f"No run of {dag_id} has started within {timeout:.0f} s. See {self._log('triggerer')} and {self._log('scheduler')}."
        )

    def wait(self, dag_id: str, run_id: str, on_change: OnChange | None = None, timeout: float = 7200) -> Json:
        """Wait for the end of a run, telling `on_change(task_id, state)` of each change; the run."""
        known: dict[str, str] = {}
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            run = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
            for task_id, state in self._changes(dag_id, run_id, known):
                if on_change:
                    on_change(task_id, state)
            if run["state"] in FINISHED:
                return dict(run)
            self._check_alive()
            time.sleep(0.5)
        raise RecsimError(f"Run {run_id} of {dag_id} has not ended within {timeout:.0f} s. See {self.url}/dags/{dag_id}/runs/{run_id}.")

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """The task instances of a run."""
        return list(self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task left under `key`; `None` if nothing."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}?deserialize=true"
        answer = self._request("GET", path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._json(answer)["value"]

    def logs(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """The log of one try of a task, one line an event."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        content = self._call("GET", path)["content"]
        return "\n".join(str(event.get("event", event)) if isinstance(event, dict) else str(event) for event in content)

    def unpause(self, dag_id: str) -> None:
        """Let a DAG's schedule and its watchers work."""
        self._call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def token(self) -> str:
        """A token of the administrator, good for a day."""
        answer = self._client.post("/auth/token", json={"username": self.username, "password": self.password})
        return str(self._json(answer)["access_token"])

    def _start(self) -> None:
        began = time.monotonic()
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = self.home / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({self.username: self.password}))
        self._make_database()
        for name, arguments in COMPONENTS.items():
            self._processes[name] = guarded.start([*_airflow(), *arguments], self._log(name), self._env)
        self._wait_until(self._healthy, "answer")
        self._client.headers["Authorization"] = f"Bearer {self.token()}"
        self._make_pools()
        self._wait_until(self._parsed, "read the DAG files")
        for dag in self._call("GET", "/dags?limit=100")["dags"]:
            self.unpause(dag["dag_id"])
        say(f"Airflow is ready after {time.monotonic() - began:.0f} s: {self.url} (user {self.username}, password {self.password})")

    def _make_database(self) -> None:
        process = guarded.start([*_airflow(), "db", "migrate"], self._log("db-migrate"), self._env)
        self._processes["db-migrate"] = process
        if process.wait() != 0:
            raise UnavailableError(f"Airflow's database could not be made. See {self._log('db-migrate')}.")
        del self._processes["db-migrate"]

    def _make_pools(self) -> None:
        if not self._pools.exists():
            return
        for name, pool in json.loads(self._pools.read_text()).items():
            self._call("POST", "/pools", {"name": name, **pool}, ignore=httpx.codes.CONFLICT)

    def _healthy(self) -> bool:
        try:
            health = self._client.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        return all(health.get(part, {}).get("status") == "healthy" for part in ("metadatabase", "scheduler", "triggerer", "dag_processor"))

    def _parsed(self) -> bool:
        errors = self._call("GET", "/importErrors")["import_errors"]
        if errors:
            raise RecsimError(f"{errors[0]['filename']} cannot be read by Airflow: {errors[0]['stack_trace'].strip().splitlines()[-1]}")
        return bool(self._call("GET", "/dags")["dags"])

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            self._check_alive()
            if time.monotonic() > deadline:
                logs = ", ".join(str(self._log(name)) for name in self._processes)
                raise UnavailableError(f"Airflow did not {what} within {READY_SECONDS:.0f} s. See {logs}.")
            time.sleep(0.2)

    def _check_alive(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise UnavailableError(f"Airflow's {name} has ended with exit code {process.returncode}. See {self._log(name)}.")

    def _changes(self, dag_id: str, run_id: str, known: dict[str, str]) -> Iterator[tuple[str, str]]:
        for instance in self.task_instances(dag_id, run_id):
            task_id, state = instance["task_id"], instance["state"]
            if state and known.get(task_id) != state:
                known[task_id] = state
                yield task_id, state

    def _call(self, method: str, path: str, body: Json | None = None, ignore: int | None = None) -> Any:
        answer = self._request(method, path, body)
        return None if answer.status_code == ignore else self._json(answer)

    def _request(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        try:
            return self._client.request(method, f"/api/v2{path}", json=body)
        except httpx.HTTPError as error:
            raise UnavailableError(f"Airflow does not answer {method} {path}: {error}. See {self._log('api-server')}.") from error

    def _json(self, answer: httpx.Response) -> Any:
        if answer.is_error:
            raise RecsimError(
                f"Airflow refuses {answer.request.method} {answer.request.url.path} ({answer.status_code}): {answer.text[:300]}"
            )
        return answer.json()

    def _log(self, name: str) -> Path:
        return self.home / "processes" / f"{name}.log"

    def _settings(self, dags: Path, plugins: Path) -> dict[str, str]:
        """Airflow's configuration as variables, so that no file of another Airflow can get in between."""
        options: dict[str, dict[str, object]] = {
            "core": {
                "dags_folder": dags,
                "plugins_folder": plugins,
                "load_examples": False,
                "executor": "LocalExecutor",
                "parallelism": PARALLELISM,
                "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "execution_api_server_url": f"{self.url}/execution/",
                "simple_auth_manager_users": f"{USERNAME}:admin",
                "simple_auth_manager_passwords_file": self.home / "passwords.json",
            },
            "api": {"host": "127.0.0.1", "port": self.port, "base_url": self.url, "secret_key": secrets.token_urlsafe(64)},
            "api_auth": {"jwt_secret": secrets.token_urlsafe(64)},
            "database": {"sql_alchemy_conn": f"sqlite:///{self.home / 'airflow.db'}"},
            "logging": {"base_log_folder": self.home / "logs"},
            "scheduler": {"scheduler_idle_sleep_time": 0.1, "trigger_timeout_check_interval": 5},
            "dag_processor": {"refresh_interval": 5, "min_file_process_interval": 5},
            "usage_data_collection": {"enabled": False},
        }
        variables = {
            f"AIRFLOW__{section}__{name}".upper(): str(value) for section, pairs in options.items() for name, value in pairs.items()
        }
        path = os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")]))
        return variables | {"AIRFLOW_HOME": str(self.home), "PYTHONPATH": path}


def _airflow() -> list[str]:
    return [sys.executable, "-m", "airflow"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
