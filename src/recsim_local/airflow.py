"""A private Airflow: its own home, ports and secrets, on loopback only; all its processes end with it.

    with PrivateAirflow(home, dags, plugins, env) as airflow:
        run_id = airflow.trigger("recsim_refresh", {"mode": "auto"})
        airflow.wait("recsim_refresh", run_id)

It has the four processes of a real installation, on SQLite, with tasks as local processes. Only the database
is created by Airflow's command line; everything else goes through the REST API.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from recsim_local import guarded
from recsim_local.airflow_api import AirflowApi
from recsim_local.console import echo
from recsim_local.ports import free_port
from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.foundation.processes import descendants
from recsim_tasks.foundation.settings import load_settings

USERNAME = "admin"
READY_SECONDS = 300.0
# Tasks are forked by the scheduler, and each takes about 100 MB: enough for a refresh, which is a chain.
PARALLELISM = 4
COMPONENTS = {
    "api-server": ["api-server", "--workers", "1"],
    # Running tasks' logs are read from the shared folder: a log server would listen on every address.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
HEALTHY = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class PrivateAirflow(AirflowApi):
    """Runs an Airflow for as long as the `with` block lasts; the methods are its REST API.

    :param home: folder for database, secrets and logs; an existing one is used again
    :param dags: folder of the DAG files
    :param plugins: folder of the plugins, importable in every process
    :param env: variables for the tasks, in addition to this process's own, such as `RECSIM_HOME`
    :param port: port of the API server, by default any free one
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        plugins: Path,
        env: dict[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.home = home.absolute()
        self.port = port or free_port()
        self._secrets = _secrets(self.home / "secrets.json")
        super().__init__(f"http://127.0.0.1:{self.port}", USERNAME, self._secrets["password"])
        self._dags = dags.absolute()
        self._pools = plugins / "recsim_airflow" / "pools.json"
        # This process may have been started with settings of another Airflow.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._env = inherited | (env or {}) | self._settings(plugins.absolute())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Start all processes, and return when a run can be triggered."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop all processes."""
        self.stop()

    def stop(self) -> None:
        """Stop all processes with the tasks and jobs that they run."""
        self._client.close()
        for process in self._processes.values():  # all at first, so that they end in parallel
            if process.poll() is None:
                process.terminate()
        for process in self._processes.values():
            guarded.stop(process)

    def kill(self, name: str) -> None:
        """`kill -9` a component and its descendants, as a machine without memory does."""
        process = self._processes.pop(name)
        for member in descendants(process.pid):
            member.kill()
        process.wait()

    def restart(self, name: str) -> None:
        """Start a component that was killed."""
        self._run(name, COMPONENTS[name])

    def check(self) -> None:
        """`UnavailableError` if a process has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise UnavailableError(
                    f"Airflow's {name} ended with exit code {process.returncode}. See {self.log_file(name)}."
                )

    def log_file(self, name: str) -> Path:
        """The log file of a component."""
        return self.home / "processes" / f"{name}.log"

    def _start(self) -> None:
        self._started_at = time.time()
        _write_private(self.home / "passwords.json", {self.username: self.password})
        self._migrate_database()
        for name, arguments in COMPONENTS.items():
            self._run(name, arguments)
        self._wait_until(self._healthy, "become healthy")
        self.log_in()
        for name, pool in json.loads(self._pools.read_text()).items():
            self._call(
                "POST",
                "/pools",
                {"name": name, **pool, "slots": load_settings().device_slots},
                ignore=httpx.codes.CONFLICT,
            )
        self._wait_until(self._parsed, "parse the DAG files")
        for dag in self._call("GET", "/dags?limit=100")["dags"]:
            self._call("PATCH", f"/dags/{dag['dag_id']}", {"is_paused": False})
        echo(
            f"Airflow is ready after {time.time() - self._started_at:.0f} s: "
            f"{self.url} (user {self.username}, password {self.password})"
        )

    def _migrate_database(self) -> None:
        if self._run("db-migrate", ["db", "migrate"]).wait() != 0:
            raise UnavailableError(f"Cannot create Airflow's database. See {self.log_file('db-migrate')}.")
        del self._processes["db-migrate"]

    def _run(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        process = guarded.start([sys.executable, "-m", "airflow", *arguments], self.log_file(name), self._env)
        self._processes[name] = process
        return process

    def _healthy(self) -> bool:
        try:
            # The API server builds this part at its first call, which shall not be that of the first task.
            self._client.get("/execution/health")
            health = self._client.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        return all(health.get(part, {}).get("status") == "healthy" for part in HEALTHY)

    def _parsed(self) -> bool:
        """Whether there is a DAG per file.

        Errors of an earlier start are listed until the file is parsed again.
        """
        for error in self._call("GET", "/importErrors")["import_errors"]:
            if datetime.fromisoformat(error["timestamp"]).timestamp() > self._started_at:
                cause = error["stack_trace"].strip().splitlines()[-1]
                raise RecsimError(f"Airflow cannot parse {error['filename']}: {cause}")
        return bool(self._call("GET", "/dags")["total_entries"] >= len(list(self._dags.glob("*.py"))))

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"Airflow did not {what} within {READY_SECONDS:.0f} s. "
                    f"See the logs in {self.log_file('scheduler').parent}."
                )
            time.sleep(0.2)

    def _settings(self, plugins: Path) -> dict[str, str]:
        """Airflow's configuration as environment variables."""
        options: dict[str, dict[str, object]] = {
            "core": {
                "dags_folder": self._dags,
                "plugins_folder": plugins,
                "load_examples": False,
                "executor": "LocalExecutor",
                "parallelism": PARALLELISM,
                "fernet_key": self._secrets["fernet_key"],
                "execution_api_server_url": f"{self.url}/execution/",
                "simple_auth_manager_users": f"{USERNAME}:admin",
                "simple_auth_manager_passwords_file": self.home / "passwords.json",
            },
            "api": {
                "host": "127.0.0.1",
                "port": self.port,
                "base_url": self.url,
                "secret_key": self._secrets["secret_key"],
            },
            "api_auth": {"jwt_secret": self._secrets["jwt_secret"]},
            "database": {"sql_alchemy_conn": f"sqlite:///{self.home / 'airflow.db'}"},
            "logging": {"base_log_folder": self.home / "logs"},
            # Half a second after a task for the next one; an idle scheduler needs a twentieth of a core.
            "scheduler": {"scheduler_idle_sleep_time": 0.5, "trigger_timeout_check_interval": 5},
            "dag_processor": {"refresh_interval": 30, "min_file_process_interval": 30},
            # A training keeps the cores busy: a task does not fail because the api-server answers late.
            "workers": {"execution_api_timeout": 60, "max_failed_heartbeats": 20},
            "usage_data_collection": {"enabled": False},
        }
        variables = {
            f"AIRFLOW__{section}__{name}".upper(): str(value)
            for section, pairs in options.items()
            for name, value in pairs.items()
        }
        path = os.pathsep.join(filter(None, [str(plugins), os.environ.get("PYTHONPATH")]))
        return variables | {"AIRFLOW_HOME": str(self.home), "PYTHONPATH": path}


def _secrets(path: Path) -> dict[str, str]:
    """The secrets of this home, created once: the database is encrypted with them."""
    if not path.exists():
        created = {name: secrets.token_urlsafe(64) for name in ("secret_key", "jwt_secret")}
        fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        _write_private(path, {**created, "fernet_key": fernet_key, "password": secrets.token_urlsafe(12)})
    return dict(json.loads(path.read_text()))


def _write_private(path: Path, value: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(value))
