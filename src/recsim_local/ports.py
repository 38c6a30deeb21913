"""The ports of the servers on loopback: the usual ones where they are free, or any."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from recsim_tasks.foundation.settings import ServingSettings

# Those that Airflow and MLflow listen on by default.
AIRFLOW, MLFLOW = 8080, 5000


@dataclass(frozen=True)
class Ports:
    """A port for each server."""

    airflow: int
    mlflow: int
    api: int
    shop: int


def usual_ports(settings: ServingSettings) -> Ports:
    """The ports of the settings, and those of Airflow and MLflow; any free one in place of each in use."""
    api = _usual(settings.port)
    shop = _usual(settings.shop_port, api)
    airflow = _usual(AIRFLOW, api, shop)
    return Ports(airflow, _usual(MLFLOW, api, shop, airflow), api, shop)


def free_ports() -> Ports:
    """Any free ports, so that several stacks can run on one machine."""
    return Ports(*(free_port() for _ in range(4)))


def free_port() -> int:
    """A free port of the loopback address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _usual(port: int, *taken: int) -> int:
    return port if port not in taken and _is_free(port) else free_port()


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # As servers do: connections that another server has just closed do not keep its port in use.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
