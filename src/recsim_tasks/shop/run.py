"""Start the shop window."""

from __future__ import annotations

import logging
from pathlib import Path
from socket import gethostname
from urllib.parse import urlsplit

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import Settings

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page.py")
THEME = {
    "base": "light",
    "primaryColor": "#0f766e",
    "textColor": "#0f172a",
    "secondaryBackgroundColor": "#f1f5f9",
}
LOCAL = ("localhost", "127.0.0.1", "::1")


def shop(settings: Settings) -> None:
    """Show the page on `settings.host` and `settings.shop_port` until stopped.

    Streamlit runs in this process, so that it ends with it. `RecsimError` when it ends by itself.
    """
    from streamlit.web import cli

    log.info(f"Shop window: http://{settings.host}:{settings.shop_port}")
    try:
        cli.main(["run", str(PAGE), *arguments(settings)], prog_name="streamlit", standalone_mode=False)
    except SystemExit as error:
        if error.code:
            port = settings.shop_port
            raise RecsimError(
                f"Streamlit ended with exit code {error.code}; the lines above say why. Is port {port} taken (RECSIM_SHOP_PORT)?"
            ) from error


def arguments(settings: Settings) -> list[str]:
    """Streamlit's options."""
    options = {
        "server.address": settings.host,
        "server.port": str(settings.shop_port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.maxUploadSize": "15",  # megabytes; the API takes 16 in all
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        **{f"theme.{name}": value for name, value in THEME.items()},
    }
    allowed = [f"--server.allowedHosts={name}" for name in own_names(settings)]
    return [*(f"--{name}={value}" for name, value in options.items()), *allowed]


def own_names(settings: Settings) -> list[str]:
    """Names under which a browser may ask: a page that rebinds its own name could ask the API with the shop's token."""
    given = urlsplit(settings.shop_url or "").hostname
    return sorted({*LOCAL, settings.host, gethostname(), *([given] if given else [])})
