"""Product ids in addresses: a slash of an id is sent as `%2F`, one that separates as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from fastapi.routing import APIRoute
from starlette.routing import Match

if TYPE_CHECKING:
    from starlette.types import Scope

# Bytes that are not UTF-8 stay visible, and `search_options.unicode_text` refuses them.
BYTES = "surrogateescape"


class AddressRoute(APIRoute):
    """A route that matches the path as it was sent, and decodes its parameters afterwards.

    Starlette decodes first: it would take `/products/A%2Fsimilar` (the product `A/similar`) for what looks like `A`.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path is one of this route, and the product that it names."""
        if "raw_path" in scope:
            scope = {**scope, "path": as_sent(scope["raw_path"].decode("ascii", BYTES))}
        match, child = super().matches(scope)
        if match is not Match.NONE:
            child["path_params"] = {name: _decoded(value) for name, value in child["path_params"].items()}
        return match, child


def as_sent(path: str) -> str:
    """`path` in one way of writing it: everything that may be encoded is, and slashes are as they were."""
    return "/".join(
        quote(unquote(segment, errors=BYTES), safe="", errors=BYTES) for segment in path.split("/")
    )


def _decoded(value: Any) -> Any:
    return unquote(value, errors=BYTES) if isinstance(value, str) else value
