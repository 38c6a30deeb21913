"""What the end of a refresh does with pictures of the catalogue: canaries, whether they find their product, the page that shows the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from recsim_tasks.release.evaluation.evaluate import Comparison, Evaluation
    from recsim_tasks.release.gate.gate import Verdict
    from recsim_tasks.vectors.index import Index

CANARIES = 8
# So many pictures are tried, of so many that may be: of a large catalogue those in the newest files.
COVERAGE_PICTURES, COVERAGE_CHOICE = 256, 8_192
PICTURES_SECONDS = 60.0


def canary_images(settings: Settings, workspace: Workspace) -> list[bytes]:
    """Images that serving embeds before it trusts a model: always the same ones for one catalogue."""
    from recsim_tasks.catalogue.delta.reader import iter_products
    from recsim_tasks.catalogue.images.decode import is_readable

    batches = iter_products(settings.products_uri, workspace.head, ["image"])
    images = (image.as_py() for batch in batches for image in batch.column("image"))
    return list(islice(filter(is_readable, images), CANARIES))


def coverage(settings: Settings, workspace: Workspace, index: Index) -> float:
    """See `findable`, of pictures of the catalogue; those that came last lie in the files that are read first."""
    from recsim_tasks.learning.embedder import Embedder
    from recsim_tasks.release.evaluation.evaluate import findable

    hashes = sorted(index.products["image_hash"].to_pylist())[:COVERAGE_CHOICE]

    def some() -> Iterator[pa.Table]:
        tried = 0
        for part in _pictures(settings, workspace, set(hashes)):
            yield part
            tried += len(part)
            if tried >= COVERAGE_PICTURES:
                return

    return findable(index, Embedder(workspace.model), some())


def verdict_page(
    settings: Settings,
    workspace: Workspace,
    index: Index,
    held: Index | None,
    evaluation: Evaluation,
    compared: Comparison | None,
    verdict: Verdict,
) -> str:
    """Draw the verdict with what champion and challenger answer; `held` and `compared` are the champion's, if there is one."""
    from recsim_tasks.release.gate.report import Side, page

    def pictures(hashes: set[str]) -> dict[str, bytes]:
        """As many as can be read in the time that a sheet of pictures is worth: each may lie in another file."""
        found: dict[str, bytes] = {}
        until = time.monotonic() + PICTURES_SECONDS
        for part in _pictures(settings, workspace, hashes):
            found.update(zip(part["image_hash"].to_pylist(), part["image"].to_pylist(), strict=True))
            if time.monotonic() > until:
                break
        return found

    def product(of: Index) -> Callable[[str], tuple[str, str]]:
        def look(name: str) -> tuple[str, str]:
            known = of.product(name)
            return known["category"] or "", known["image_hash"]

        return look

    title = f"release of refresh {workspace.refresh_id}"
    if held is None or compared is None:
        return page(title, verdict, Side(evaluation.answered, product(index)), None, pictures)
    return page(
        title,
        verdict,
        Side(compared.challenger, product(index)),
        Side(compared.champion, product(held)),
        pictures,
    )


def _pictures(settings: Settings, workspace: Workspace, hashes: set[str]) -> Iterator[pa.Table]:
    import pyarrow as pa

    from recsim_tasks.catalogue.delta.image_files import iter_images

    yield from iter_images(settings.products_uri, workspace.head, pa.array(sorted(hashes), pa.string()))
