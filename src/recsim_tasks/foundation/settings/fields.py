"""The types of settings: bounded numbers, ports, and locations without credentials."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from recsim_tasks.foundation.redaction import redacted

# Pillow warns of a decompression bomb above it.
MOST_PIXELS = 89_478_485


def _without_credentials(location: str) -> str:
    """Locations are shown, logged and stored; credentials have variables of their own."""
    if redacted(location) != location:
        raise ValueError(
            "must not carry credentials: set those of an object store as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    return location


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Pixels = Annotated[int, Field(ge=1, le=MOST_PIXELS)]
Location = Annotated[str, AfterValidator(_without_credentials)]
# The value of a variable is text, which equals no literal.
Channels = Annotated[
    Literal[1, 3], BeforeValidator(lambda given: int(given) if given in ("1", "3") else given)
]


class SettingsGroup(BaseModel):
    """The settings of one concern; `Settings` inherits all groups."""

    model_config = ConfigDict(frozen=True, extra="forbid")
