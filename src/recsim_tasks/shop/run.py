"""Start the shop window."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.progress import say
from recsim_tasks.foundation.settings import Settings

PAGE = Path(__file__).with_name("page.py")
THEME = {"base": "light", "primaryColor": "#0f766e", "textColor": "#0f172a", "secondaryBackgroundColor": "#f1f5f9"}


def shop(settings: Settings) -> None:
    """Show the page on `settings.host` and `settings.shop_port` until stopped; `RecsimError` when Streamlit ends by itself."""
    say(f"Shop window: http://{settings.host}:{settings.shop_port}")
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
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    code = subprocess.run([sys.executable, "-m", "streamlit", "run", str(PAGE), *arguments], check=False).returncode
    if code not in (0, -2, -15, 130, 143):  # 0 or a signal: somebody stopped it
        raise RecsimError(
            f"Streamlit ended with exit code {code}; the lines above say why. Is port {settings.shop_port} taken (RECSIM_SHOP_PORT)?"
        )
