from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from recsim_tasks.foundation.settings.fields import Channels, Location


@pytest.mark.parametrize("location", ["/data", "s3a://lake/products", "http://host/a@b", "spark://m:7077"])
def test_a_location_without_credentials_is_kept(location: str) -> None:
    assert TypeAdapter(Location).validate_python(location) == location


@pytest.mark.parametrize("location", ["s3a://key:swordfish@lake/x", "https://lake/x?sig=swordfish"])
def test_a_location_with_credentials_is_refused(location: str) -> None:
    with pytest.raises(ValidationError, match="must not carry credentials"):
        TypeAdapter(Location).validate_python(location)


@pytest.mark.parametrize(("value", "channels"), [("1", 1), ("3", 3), (1, 1), (3, 3)])
def test_channels_may_be_text_as_a_variable_is(value: object, channels: int) -> None:
    assert TypeAdapter(Channels).validate_python(value) == channels


@pytest.mark.parametrize("value", ["2", 2, 4, "three", None])
def test_only_grey_and_colour_have_channels(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Channels).validate_python(value)
