from __future__ import annotations

import logging

import pytest
from jinja2 import Template

from plugins.airflow_fakes import fake_context
from recsim_airflow.status_line import STATUS_LINE_TEMPLATE, set_status_line

pytestmark = pytest.mark.airflow


def test_the_status_line_is_in_the_xcom_the_log_and_the_map_index(caplog: pytest.LogCaptureFixture) -> None:
    context = fake_context()
    with caplog.at_level(logging.INFO):
        set_status_line(context, "Feed 'a\nb' is on hold.", level=logging.WARNING)
    assert context["ti"].xcoms == {"reason": r"Feed 'a\nb' is on hold."}
    assert Template(STATUS_LINE_TEMPLATE).render(context) == r"Feed 'a\nb' is on hold."
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, r"Feed 'a\nb' is on hold.")
    ]


def test_the_map_index_is_not_longer_than_its_database_column() -> None:
    assert len(Template(STATUS_LINE_TEMPLATE).render(reason="x" * 1000)) == 250
    assert Template(STATUS_LINE_TEMPLATE).render() == ""
