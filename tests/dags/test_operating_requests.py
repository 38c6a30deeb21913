"""The requests to Airflow that docs/operating.md shows, in its order, to a real Airflow."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pages import DOCS, PAGES, SHELL, blocks, commands

if TYPE_CHECKING:
    from dags.conftest import Deployment

pytestmark = pytest.mark.airflow
# A curl command up to its end, a pipe or the end of a substitution.
CURL = re.compile(r"\bcurl (?:[^|)'\n]|'[^']*')*")


def requests() -> Iterator[str]:
    for text in blocks(DOCS / "operating.md", "sh"):
        yield from CURL.findall(text.replace("\\\n", " "))


class Client:
    """Sends the page's requests; `variables` are those of the shell."""

    def __init__(self, deployment: Deployment) -> None:
        self.variables = {
            "AIRFLOW": deployment.airflow.url,
            "PASSWORD": deployment.airflow.password,
            "RUN": "campaign-7",
        }
        self.shown = list(requests())

    def send(self, part: str) -> Any:
        """The answer to the first request with `part` in it that was not sent yet."""
        command = next(command for command in self.shown if part in command)
        self.shown.remove(command)
        response = self.response(command)
        assert response.is_success, f"{command}: {response.text}"
        return response.json() if "/wait?" not in command else response.text.splitlines()

    def response(self, command: str) -> httpx.Response:
        for variable, value in self.variables.items():
            command = command.replace(f"${variable}", value)
        words = shlex.split(command)
        options = {
            word: words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-H", "-X", "--json")
        }
        header, _, content = options.get("-H", "Accept: application/json").partition(": ")
        return httpx.request(
            options.get("-X", "POST" if "--json" in options else "GET"),
            next(word for word in words if word.startswith("http")),
            headers={header: content},
            json=json.loads(options["--json"]) if "--json" in options else None,
            timeout=120,
        )


def test_the_requests_of_the_page_do_what_it_says(deployment: Deployment) -> None:
    client = Client(deployment)
    client.variables["TOKEN"] = client.send("/auth/token")["access_token"]
    deployment.override(plan={"result": {"decision": "append", "reasons": ["3 products changed."]}})
    (trigger,) = (command for command in client.shown if '"approval": "ask"' in command)
    run = client.send('"approval": "ask"')["dag_run_id"]
    assert run == client.variables["RUN"]
    assert client.response(trigger).status_code == httpx.codes.CONFLICT, "a retry starts no second run"
    deployment.wait_for_question(run, "approve")
    open_questions = client.send("hitlDetails?state=awaiting_input")["hitl_details"]
    assert [question["task_instance"]["task_id"] for question in open_questions] == ["approve"]
    deployment.respond(run, "approve", "Reject")
    assert json.loads(client.send("/wait?")[-1])["state"] == "failed"
    (failed,) = client.send("?state=failed")["task_instances"]
    assert failed["task_id"] == "promote"
    assert failed["rendered_map_index"].startswith("Rejected: Release")
    client.send("/clearTaskInstances")
    deployment.wait_for_question(run, "approve")
    client.send("/approve/-1/hitlDetails")
    assert deployment.end(run)[0] == "success"
    champion = deployment.champion["version"]
    for action, served in (("rollback", champion - 1), ("resume", champion - 1)):
        run = client.send(f'"action": "{action}"')["dag_run_id"]
        assert deployment.airflow.wait("recsim_rollback", run, timeout=180)["state"] == "success"
        assert (deployment.champion["version"], deployment.champion["frozen"]) == (
            served,
            action == "rollback",
        )
    assert client.shown == [], "each request of the page is sent here"
    deployment.override()


def test_every_command_of_airflow_that_a_page_shows_is_one() -> None:
    from airflow.cli.cli_parser import get_parser

    shown = {
        command
        for page in PAGES
        for kind in SHELL
        for text in blocks(page, kind)
        for _, command in commands(text)
        if command.startswith("airflow ")
    }
    assert shown
    for command in shown:
        get_parser().parse_args(shlex.split(command)[1:])
