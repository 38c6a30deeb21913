"""Product ids in paths: a slash of an id is sent as `%2F`, a slash that separates segments as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from fastapi.routing import APIRoute
from starlette.routing import Match

if TYPE_CHECKING:
    from starlette.types import Scope

# Bytes that are not UTF-8 survive decoding, so that `search_options.unicode_text` can refuse them.
ERRORS = "surrogateescape"


class RawPathRoute(APIRoute):
    """A route that matches the path as it was sent, and decodes its parameters afterwards.

    Starlette decodes first, and would take `/products/A%2Fsimilar` (the product `A/similar`) for the products
    similar to `A`.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the raw path, and decode the parameters."""
        if "raw_path" in scope:
            scope = {**scope, "path": normalised(scope["raw_path"].decode("ascii", ERRORS))}
        match, child = super().matches(scope)
        if match is not Match.NONE:
            child["path_params"] = {name: _decoded(value) for name, value in child["path_params"].items()}
        return match, child


def normalised(path: str) -> str:
    """Percent-encode each segment of `path` in the same way; slashes between segments stay."""
    segments = (unquote(segment, errors=ERRORS) for segment in path.split("/"))
    return "/".join(quote(segment, safe="", errors=ERRORS) for segment in segments)


def _decoded(value: object) -> object:
    return unquote(value, errors=ERRORS) if isinstance(value, str) else value
