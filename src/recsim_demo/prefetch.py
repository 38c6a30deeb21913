"""Fetches once what jobs and the demo need from the network: Delta's jars and Fashion-MNIST."""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit
from urllib.request import getproxies

from recsim_demo import fashion_mnist
from recsim_local.console import echo
from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.foundation.spark import delta_jars, fetch_delta_jars

JAVA_OPTIONS = "JAVA_TOOL_OPTIONS"


def main() -> int:
    """Fetch what is missing; the exit code is 0, or an error's."""
    try:
        settings = load_settings()
        if not delta_jars():
            fetch_jars(settings)
        fashion_mnist.load()
    except RecsimError as error:
        echo(str(error))
        return error.exit_code
    return 0


def fetch_jars(settings: Settings) -> None:
    """Fetch Delta's jars, through the proxy of the usual variables; `UnavailableError` if that fails."""
    echo("Fetching Delta's jars (90 MB) through Spark's Ivy")
    if proxy := java_proxy(getproxies()):
        os.environ[JAVA_OPTIONS] = f"{proxy} {os.environ.get(JAVA_OPTIONS, '')}".strip()
    try:
        fetch_delta_jars(settings)
    except RecsimError as error:
        raise UnavailableError(
            "Delta's jars could not be fetched from Maven Central: the lines above say why. Java trusts only "
            "the certificates of its own store: add your proxy's with `update-ca-certificates` on Debian and "
            "Ubuntu, elsewhere with `keytool -importcert -cacerts`. Options for Java, such as the login of a "
            f"proxy, go into {JAVA_OPTIONS}. Then run `make` again."
        ) from error


def java_proxy(proxies: dict[str, str]) -> str:
    """The proxies of `http` and `https` as options for Java, which does not read their variables."""
    found = {scheme: urlsplit(proxies[scheme]) for scheme in ("http", "https") if scheme in proxies}
    return " ".join(
        f"-D{scheme}.proxyHost={proxy.hostname} -D{scheme}.proxyPort={proxy.port or 80}"
        for scheme, proxy in found.items()
        if proxy.hostname
    )


if __name__ == "__main__":
    sys.exit(main())
