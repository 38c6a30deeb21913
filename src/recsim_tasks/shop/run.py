"""Run the shop: Streamlit, in this process."""

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
    """Serve the page on `settings.host` and `settings.shop_port` until stopped.

    Streamlit runs in this process, and ends with it. Raises `RecsimError` when Streamlit ends by itself.
    """
    from streamlit.web import cli

    log.info("Shop: http://%s:%d", settings.host, settings.shop_port)
    try:
        cli.main(["run", str(PAGE), *arguments(settings)], prog_name="streamlit", standalone_mode=False)
    except SystemExit as error:
        if error.code:
            port = settings.shop_port
            raise RecsimError(
                f"Streamlit ended with exit code {error.code}; see the lines above. "
                f"Is port {port} in use (RECSIM_SHOP_PORT)?"
            ) from error


def arguments(settings: Settings) -> list[str]:
    """Return Streamlit's options."""
    options = {
        "server.address": settings.host,
        "server.port": str(settings.shop_port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.maxUploadSize": "15",  # megabytes; the API accepts 16 in all
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        **{f"theme.{name}": value for name, value in THEME.items()},
    }
    allowed = [f"--server.allowedHosts={name}" for name in own_hosts(settings)]
    return [*(f"--{name}={value}" for name, value in options.items()), *allowed]


def own_hosts(settings: Settings) -> list[str]:
    """Return the host names that the shop answers to.

    Under any other name, a page that rebinds its DNS name could use the API with the shop's token.
    """
    public = urlsplit(settings.shop_url or "").hostname
    return sorted({*LOCAL, settings.host, gethostname(), *([public] if public else [])})
