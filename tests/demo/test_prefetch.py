from __future__ import annotations

import os

import pytest

from recsim_demo import prefetch
from recsim_tasks.foundation.errors import ConfigurationError, UnavailableError
from recsim_tasks.foundation.settings import Settings


def test_java_is_given_the_proxies_of_the_usual_variables() -> None:
    proxies = {"https": "http://proxy.example:3128", "http": "http://10.0.0.1", "no": "localhost"}
    assert prefetch.java_proxy(proxies) == (
        "-Dhttp.proxyHost=10.0.0.1 -Dhttp.proxyPort=80 -Dhttps.proxyHost=proxy.example -Dhttps.proxyPort=3128"
    )
    assert prefetch.java_proxy({}) == ""


def test_jars_that_cannot_be_fetched_are_an_outage_with_the_next_step(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(settings: Settings) -> None:
        assert os.environ["JAVA_TOOL_OPTIONS"] == "-Dhttps.proxyHost=proxy -Dhttps.proxyPort=3128 -Dmine=1"
        raise ConfigurationError("Spark does not start.")

    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dmine=1")
    monkeypatch.setattr(prefetch, "getproxies", lambda: {"https": "http://proxy:3128"})
    monkeypatch.setattr(prefetch, "fetch_delta_jars", refuse)
    with pytest.raises(UnavailableError, match=r"update-ca-certificates.* run `make` again") as failed:
        prefetch.fetch_jars(settings)
    assert failed.value.exit_code == 1
