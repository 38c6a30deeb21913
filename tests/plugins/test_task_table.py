from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from recsim_airflow.retries import OutageRetryPolicy
from recsim_airflow.task_table import read_task_table

pytestmark = pytest.mark.airflow


def test_the_table_beside_a_dag_has_the_arguments_of_its_tasks(tmp_path: Path) -> None:
    (tmp_path / "nightly.yaml").write_text(
        "embed: {doc_md: Embeds., execution_timeout: 90}\n"
        "ask: {doc_md: Asks., execution_timeout: 5, response_timeout: 480, failure_retries: 1}\n"
    )
    table = read_task_table(str(tmp_path / "nightly.py"))
    assert table["embed"] == {"doc_md": "Embeds.", "execution_timeout": timedelta(minutes=90)}
    assert table["ask"]["response_timeout"] == timedelta(hours=8)
    assert isinstance(table["ask"]["retry_policy"], OutageRetryPolicy)
    assert table["ask"]["retry_policy"].failure_retries == 1


@pytest.mark.parametrize("row", ["{doc_md: Embeds.}", "{doc_md: Embeds., execution_timeout: 5, pool: gpu}"])
def test_a_row_that_lacks_a_limit_or_has_an_unknown_key_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "nightly.yaml").write_text(f"embed: {row}\n")
    with pytest.raises(TypeError, match=r"execution_timeout|pool"):
        read_task_table(str(tmp_path / "nightly.py"))
