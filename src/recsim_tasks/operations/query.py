"""Query the release in Production."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_tasks.contracts import QueryResult
from recsim_tasks.foundation.errors import InputError, MissingError
from recsim_tasks.foundation.publishing import remove
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from recsim_tasks.release.bundle import Release
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.references import ReleaseRef

log = logging.getLogger(__name__)


def query(
    settings: Settings, image: Path | None, product: str | None, options: Mapping[str, object]
) -> QueryResult:
    """The nearest products of an image or a product; `options` are the fields of `SearchOptions`."""
    from recsim_tasks.release.registry.client import NO_RELEASE, Registry
    from recsim_tasks.release.search_options import SearchOptions

    checked = SearchOptions.of(options)
    data = None if product is not None else _read(image)
    if product is not None and image is not None:
        raise InputError("Give either --image FILE or --product ID, not both.")
    registry = Registry(settings)
    production = registry.production()
    if production.problem:
        log.warning("%s", production.problem)
    champion = production.release
    if champion is None:
        raise MissingError(production.problem or NO_RELEASE)
    release = _open(settings, registry, champion)
    search = checked.k, checked.filters, checked.distinct
    results = release.similar(data, *search) if data is not None else release.more_like(str(product), *search)
    return QueryResult(release=champion.version, results=results)


def _open(settings: Settings, registry: Registry, champion: ReleaseRef) -> Release:
    """Open the local copy of the champion, and remove the one that an earlier query left."""
    from recsim_tasks.release.registry.local_copy import open_copy

    folder = settings.home.absolute() / "query" / str(champion.version)
    release = open_copy(registry, champion, folder, settings.serving_max_pixels)
    for other in folder.parent.glob("[0-9]*"):
        if other != folder:
            remove(other)
    return release


def _read(image: Path | None) -> bytes:
    if image is None:
        raise InputError("Give either --image FILE or --product ID to search for similar products.")
    try:
        return image.read_bytes()
    except OSError as error:
        raise InputError(
            f"{image} cannot be read: {error.strerror}. Give the path of a JPEG, PNG or WebP file."
        ) from error
