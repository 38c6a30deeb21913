from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from recsim_local.airflow_api import READ_TRIES, AirflowApi
from recsim_tasks.foundation.errors import RecsimError, UnavailableError


def api(reply: Callable[[httpx.Request], httpx.Response]) -> AirflowApi:
    airflow = AirflowApi("http://airflow", "ada", "a-password")
    airflow._client = httpx.Client(transport=httpx.MockTransport(reply), base_url=airflow.url)
    return airflow


@pytest.mark.parametrize(("method", "tries"), [("GET", READ_TRIES), ("POST", 1)])
def test_only_a_read_is_repeated_when_airflow_does_not_answer(method: str, tries: int) -> None:
    requests = []

    def no_answer(request: httpx.Request) -> httpx.Response:
        requests.append(request.method)
        raise httpx.ConnectError("refused")

    with pytest.raises(UnavailableError, match=f"http://airflow does not answer {method} /x: refused"):
        api(no_answer)._send(method, "/x")
    assert requests == [method] * tries


def test_a_refusal_names_the_request() -> None:
    airflow = api(lambda request: httpx.Response(403, text="not yours"))
    with pytest.raises(RecsimError, match=r"^Airflow refused GET /api/v2/dags/d/dagRuns \(403\): not yours"):
        airflow.runs("d")


def test_an_error_of_the_server_is_an_outage() -> None:
    airflow = api(lambda request: httpx.Response(503, text="starting"))
    with pytest.raises(UnavailableError, match=r"failed to answer GET .* \(503\): starting"):
        airflow.runs("d")


def test_a_log_has_the_level_of_each_line_and_its_text() -> None:
    content = [{"event": "::group::"}, {"event": "3 rows", "level": "warning"}, "plain text"]
    airflow = api(lambda request: httpx.Response(200, json={"content": content}))
    assert airflow.logs("d", "r", "t") == "::group::\n3 rows\nplain text"
    assert airflow.log_events("d", "r", "t")[1]["level"] == "warning"


def test_an_xcom_that_does_not_exist_is_none() -> None:
    assert api(lambda request: httpx.Response(404)).xcom("d", "r", "t") is None
