from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from recsim_local import ports
from recsim_local.ports import Ports, free_port, free_ports, usual_ports
from recsim_tasks.foundation.settings import ServingSettings


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Ports:
    """Ports that nothing listens on, in the place of 8080 and 5000 and in the settings."""
    usual = free_ports()
    monkeypatch.setattr(ports, "AIRFLOW", usual.airflow)
    monkeypatch.setattr(ports, "MLFLOW", usual.mlflow)
    return usual


def of(ports: Ports) -> ServingSettings:
    return ServingSettings(port=ports.api, shop_port=ports.shop)


def test_the_usual_ports_are_the_defaults_of_the_servers() -> None:
    settings = ServingSettings()
    assert (ports.AIRFLOW, ports.MLFLOW, settings.port, settings.shop_port) == (8080, 5000, 8000, 8501)


def test_ports_that_are_free_are_used(usual: Ports) -> None:
    assert usual_ports(of(usual)) == usual


def test_a_port_in_use_is_replaced_and_the_others_stay(usual: Ports) -> None:
    with listening(usual.api):
        found = usual_ports(of(usual))
    assert found.api != usual.api
    assert (found.airflow, found.mlflow, found.shop) == (usual.airflow, usual.mlflow, usual.shop)


def test_a_port_that_a_setting_claims_is_no_longer_mlflows(usual: Ports) -> None:
    found = usual_ports(ServingSettings(port=usual.mlflow, shop_port=usual.shop))
    assert found.api == usual.mlflow
    assert found.mlflow != usual.mlflow


def test_a_port_whose_connections_have_just_been_closed_is_free(usual: Ports) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", usual.shop))
        listener.listen()
        client = socket.create_connection(("127.0.0.1", usual.shop))
        connection, _ = listener.accept()
        connection.close()  # the side that closes first keeps the port for a minute
        client.close()
    assert usual_ports(of(usual)).shop == usual.shop


def test_free_ports_differ() -> None:
    found = free_ports()
    assert len({found.airflow, found.mlflow, found.api, found.shop}) == 4
    with listening(found.api):
        assert free_port() != found.api
