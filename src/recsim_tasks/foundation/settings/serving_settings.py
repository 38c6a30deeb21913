"""The HTTP API and the shop."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from recsim_tasks.foundation.limits import DEFAULT_QUERY_PIXELS
from recsim_tasks.foundation.redaction import SHORTEST_SECRET
from recsim_tasks.foundation.settings.fields import Count, Location, Pixels, Port, SettingsGroup


class ServingSettings(SettingsGroup):
    """Addresses, limits and the token of the servers."""

    host: str = Field("127.0.0.1", description="Address that `serve` and `shop` bind.")
    port: Port = Field(8000, description="Port of the HTTP API.")
    shop_port: Port = Field(8501, description="Port of the shop.")
    shop_url: Location | None = Field(
        None, description="Public address of the shop, if it is not a name of this machine."
    )
    serving_url: Location | None = Field(
        None, description="Address of the HTTP API for `verify` and the shop; unset if nothing serves."
    )
    serving_workers: Count = Field(2, description="Worker processes of the HTTP API.")
    serving_concurrency: Count = Field(
        64, description="Concurrent requests of one worker; further requests get status 503."
    )
    serving_max_pixels: Pixels = Field(
        DEFAULT_QUERY_PIXELS,
        description="Maximum pixels of a query image as decoded; large JPEGs are decoded at a fraction.",
    )
    serving_poll_seconds: Annotated[float, Field(gt=0)] = Field(
        2.0, description="Seconds between two looks for a new champion."
    )
    api_token: SecretStr | None = Field(
        None,
        min_length=SHORTEST_SECRET,
        description="Bearer token that the HTTP API requires, if set; at least 8 characters.",
    )
