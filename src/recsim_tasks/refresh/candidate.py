"""The candidate: the release that a refresh makes, opened once, and the champion it is compared with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.plan import NEW_IMAGES
from recsim_tasks.refresh.step_inputs import fetch_champion, own_index, take_model
from recsim_tasks.refresh.workspace import Workspace

if TYPE_CHECKING:
    from recsim_tasks.catalogue.delta.feed_commits import FeedCommit
    from recsim_tasks.learning.embedder import Embedder
    from recsim_tasks.release.manifest import Manifest, Training
    from recsim_tasks.vectors.index import Index

log = logging.getLogger(__name__)

# A person who accepts a feed that these guards put on hold knows that it withdraws or moves much of the
# catalogue.
EXCUSING_GUARDS = {"max_withdrawn_share", "max_withdrawn_category_share", "max_category_shift"}


@dataclass(frozen=True)
class Candidate:
    """The release that a refresh makes, and the champion; `champion` and its index are None without one."""

    head: Cursor
    """The version of the catalogue that it reflects."""
    embedder: Embedder
    index: Index
    training: Training
    feeds: tuple[FeedCommit, ...]
    """The feeds that it has and the champion does not have."""
    champion: Manifest | None
    champion_index: Index | None

    @classmethod
    def open(cls, settings: Settings, workspace: Workspace) -> Candidate:
        """Open what the steps before have made, and the planned champion.

        `InputError` names the step to run again.
        """
        from recsim_tasks.learning.embedder import Embedder
        from recsim_tasks.release.manifest import Manifest
        from recsim_tasks.vectors.index import Index

        index, champion = own_index(workspace), fetch_champion(settings, workspace)
        embedder = Embedder(take_model(settings, workspace))
        manifest = Manifest.read(champion) if champion else None
        return cls(
            head=workspace.head,
            embedder=embedder,
            index=index,
            training=_training(workspace, manifest),
            feeds=_feeds(settings, workspace),
            champion=manifest,
            champion_index=Index.open(champion / "index") if champion else None,
        )

    @property
    def accepted_by(self) -> str | None:
        """Who accepted a feed of this refresh that a guard had put on hold for what it withdraws or moves."""
        excused = (feed.accepted_by for feed in self.feeds if feed.guards & EXCUSING_GUARDS)
        return next(filter(None, excused), None)

    def trained_images(self, settings: Settings) -> set[str] | None:
        """Hashes of the images in the catalogue that the encoder was trained on.

        None if that version is gone.
        """
        from recsim_tasks.catalogue.delta.reader import read_products

        trained_on = self.embedder.description.catalogue
        if trained_on is None:
            return None
        try:
            products = read_products(settings.products_uri, trained_on, ["image_hash"])
        except MissingError as error:
            log.info("Cannot tell which products are newer than the training: %s", error)
            return None
        return set(products["image_hash"].to_pylist())


def _feeds(settings: Settings, workspace: Workspace) -> tuple[FeedCommit, ...]:
    from recsim_tasks.catalogue.delta.feed_commits import feeds_between

    return tuple(feeds_between(settings.products_uri, workspace.plan.cursor, workspace.head))


def _training(workspace: Workspace, champion: Manifest | None) -> Training:
    """The training of this refresh.

    Else the champion's, plus the images of this refresh that it has not seen.
    """
    from recsim_tasks.learning.embedder import TrainedEncoderDescription
    from recsim_tasks.release.manifest import Training

    plan = workspace.plan
    if plan.decision == "retrain" or champion is None:
        encoder = TrainedEncoderDescription.read(workspace.own_model)
        return Training(
            at=encoder.trained_at,
            categories=encoder.categories,
            unseen=0,
            backbone=encoder.backbone,
            params=encoder.params,
        )
    unseen = champion.training.unseen + sum(plan.changes[kind] for kind in NEW_IMAGES)
    return champion.training.model_copy(update={"unseen": unseen})
