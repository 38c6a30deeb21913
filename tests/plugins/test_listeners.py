from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Template

from recsim_airflow.listeners import POOL_SLOTS_ARGUMENT, POOL_SLOTS_VARIABLE, on_dag_run_running

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize(
    ("variables", "argument"),
    [
        ({POOL_SLOTS_VARIABLE: "2"}, "--pool-slots=2"),
        ({POOL_SLOTS_VARIABLE: "0"}, "--pool-slots=0"),
        ({POOL_SLOTS_VARIABLE: "-1"}, ""),
        ({}, ""),
    ],
    ids=["two slots", "no slots", "an unbounded pool", "nothing recorded"],
)
def test_the_plan_gets_the_slots_of_a_bounded_pool(variables: dict[str, str], argument: str) -> None:
    assert Template(POOL_SLOTS_ARGUMENT).render(var={"value": variables}) == argument


def test_runs_of_other_dags_are_ignored() -> None:
    run: Any = SimpleNamespace(dag_id="billing")  # without a database session
    on_dag_run_running(run, "")
