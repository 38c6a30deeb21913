"""What an operator asks outside a refresh: how fresh are we, and what the release in Production answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_tasks.foundation.errors import InputError, MissingError
from recsim_tasks.foundation.publishing import remove
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from recsim_tasks.contracts import Cursor
    from recsim_tasks.release.registry.client import Registry

log = logging.getLogger(__name__)


def status(settings: Settings) -> dict[str, Any]:
    """The release in Production (`champion`), the catalogue's `head`, how far it is `behind`, in versions and seconds, who has `held` promotions, and what `problem` there is with the alias."""
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    registry = Registry(settings)
    now, production = head(settings.products_uri), registry.production()
    champion, told = production.release, None
    if champion:
        told = {
            "version": champion.version,
            "cursor": champion.cursor.as_json(),
            "size": champion.size,
            "model_fingerprint": champion.model_fingerprint,
        }
    behind = _behind(settings, champion.cursor, now) if champion and now else None
    return {
        "champion": told,
        "head": now.as_json() if now else None,
        "behind": behind,
        "held": Promotions(registry).held(),
        "problem": production.problem,
    }


def releases(settings: Settings, feed: str | None) -> dict[str, Any]:
    """Who was in Production when, oldest first; of a `feed` the version of the catalogue that took it in, and the release that first served it."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    registry = Registry(settings)
    history = Promotions(registry).history()
    return {"releases": history} if feed is None else _first_with(settings, registry, history, feed)


def _first_with(
    settings: Settings, registry: Registry, history: list[dict[str, Any]], feed: str
) -> dict[str, Any]:
    from recsim_tasks.catalogue.delta.feed_commits import feed_commits
    from recsim_tasks.catalogue.delta.reader import head

    now = head(settings.products_uri)
    taken = (
        next((commit for commit in feed_commits(settings.products_uri) if commit.feed_id == feed), None)
        if now
        else None
    )
    kept = registry.references()
    having = {ref.version for ref in kept if feed in ref.feeds}
    if taken and now:
        having |= {
            ref.version
            for ref in kept
            if ref.cursor.table_id == now.table_id and ref.cursor.version >= taken.version
        }
    if not taken and not having:
        raise InputError(
            f"Neither a commit of {settings.products_uri} nor a release names the feed {feed!r}. It was not taken in, or both are gone."
        )
    first = next((entry for entry in history if entry["version"] in having), None)
    told = (
        {"catalogue_version": taken.version, "taken_in": taken.at}
        if taken
        else {"catalogue_version": None, "taken_in": None}
    )
    return {"feed_id": feed, **told, "first_served": first}


def query(
    settings: Settings, image: Path | None, product: str | None, wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """The nearest products of an image or a product, by the release in Production; `wanted` are fields of `SearchOptions`."""
    from recsim_tasks.release.registry.client import NO_RELEASE, Registry
    from recsim_tasks.release.registry.local_copy import open_copy
    from recsim_tasks.release.search_options import SearchOptions

    options, data = SearchOptions.of(wanted), None if product is not None else _read(image)
    if product is not None and image is not None:
        raise InputError("Give either --image FILE or --product ID, not both.")
    registry = Registry(settings)
    production = registry.production()
    if production.problem:
        log.info(production.problem)
    champion = production.release
    if champion is None:
        raise MissingError(production.problem or NO_RELEASE)
    folder = settings.home.absolute() / "query" / str(champion.version)
    release = open_copy(registry, champion, folder, settings.serving_max_pixels)
    for other in folder.parent.glob("[0-9]*"):
        if other != folder:
            remove(other)  # the release that was asked before
    asked = options.k, options.filters, options.distinct
    results = release.similar(data, *asked) if data is not None else release.more_like(str(product), *asked)
    return {"release": champion.version, "results": results}


def _read(image: Path | None) -> bytes:
    if image is None:
        raise InputError("Give either --image FILE or --product ID: what shall the neighbours look like?")
    try:
        return image.read_bytes()
    except OSError as error:
        raise InputError(
            f"{image} cannot be read: {error.strerror}. Give the path of a JPEG, PNG or WebP file."
        ) from error


def _behind(settings: Settings, cursor: Cursor, head: Cursor) -> dict[str, Any]:
    """Versions that no release has yet, and the age of the oldest of them; None for each when the histories differ."""
    from recsim_tasks.catalogue.delta.reader import committed_at

    if cursor.table_id != head.table_id:
        return {"versions": None, "seconds": None}
    versions = head.version - cursor.version
    waiting = time.time() - committed_at(settings.products_uri, cursor.version + 1) if versions > 0 else 0.0
    return {"versions": versions, "seconds": round(waiting, 1)}
