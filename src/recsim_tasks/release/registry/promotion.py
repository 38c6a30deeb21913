"""Change which release is in Production: promote, reject, roll back, freeze; and who was there when."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recsim_tasks.foundation.errors import MissingError, RejectedError
from recsim_tasks.release.registry.approval import APPROVAL, Approval, Through, approval_of, refusal
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.local_copy import UNREADABLE, check_stored
from recsim_tasks.release.registry.production import (
    IN_PRODUCTION,
    ROLLED_BACK,
    Production,
    earlier,
    production_tag,
    unfit,
)
from recsim_tasks.release.registry.refusals import promotion_refusal
from recsim_tasks.release.registry.stages import NAME, PREVIOUS, PRODUCTION, unless

log = logging.getLogger(__name__)

# A tag of the registered model, while nothing is promoted.
HOLD = "promotion.held"


class Promotions:
    """Changes of what is in Production, one at a time; each begins by mending what a killed one left.

    A release is opened as MLflow keeps it, with all its checks, before anything is changed for it. A name comes
    `through` Airflow, which knows its users, or through the command line, which takes what it is given.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry, self._client, self._stages = registry, registry.client, registry.stages

    def promote(
        self, version: int, by: str = "refresh", through: Through = "cli", approved_at: float | None = None
    ) -> dict[str, Any]:
        """Make `version` the release in Production, model and index together; nothing changes when it is.

        `approved_at` is when `by` approved it, if that was asked for. `RejectedError` when the gate held it, when it
        lacks an approval, when promotions are held since a rollback, or when another release has come into
        Production since the gate compared it with what was there: only the latest refresh may promote.
        `InputError` or `MissingError` when it cannot be read.
        """
        with self._alone() as production:
            to_do = self._may_promote(version, production, approved_at)
        if to_do:
            # A download may take minutes, for which no other change shall wait.
            check_stored(self.registry, self.registry.reference(version))
            with self._alone() as production:
                if self._may_promote(version, production, approved_at):
                    self._approve(version, by, through, approved_at)
                    self._bring(version, production, by, through, "promoted")
        previous = self._stages.aliases().get(PREVIOUS)
        return {
            "version": version,
            "previous": previous if previous != version else None,
            "stage": PRODUCTION,
        }

    def reject(self, version: int, by: str, through: Through, at: float, reason: str = "") -> RejectedError:
        """Write down that `by` has rejected a release: it then needs a new approval. Returns what to raise."""
        with self._alone() as production:
            if self._is_champion(version, production):
                return RejectedError(
                    f"Release {version} is in Production already. Go back with `recsim rollback`."
                )
            known = approval_of(self.registry.version(version).tags)
            if known is None or known.state != "approved" or at > (known.at or 0):
                self._tag(version, APPROVAL, Approval("rejected", by, at, through, reason).as_tag())
        reason = refusal(self.registry.version(version).tags) or "it was approved later"
        return RejectedError(f"Release {version} stays in Staging: {reason}.")

    def rollback(self, to: int | None, reason: str, by: str, through: Through = "cli") -> dict[str, Any]:
        """Put `to`, or the newest earlier release that can be read, back into Production.

        Refreshes promote nothing until `resume`. Made again without `to`, as a retry does, it has the outcome of
        the first time: it does not go one further back.
        """
        with self._alone() as production:
            before = self.held()
            if before and to in (None, before["to"]) and self._is_there(before["to"], production):
                return self._rolled_back(before)
            targets = [to] if to is not None else [*([before["to"]] if before else []), *self._earlier()]
            self._may_return(targets)
        target, unread = self._readable(targets, named=to is not None)
        with self._alone() as production:
            champion = production.release.version if production.release and not production.deleted else None
            held = {
                "by": by,
                "through": through,
                "at": time.time(),
                "reason": reason or "no reason given",
                "release": champion,
            }
            held |= {"to": target, "unreadable": unread}
            self._client.set_registered_model_tag(NAME, HOLD, json.dumps(held))
            if not self._is_there(target, production):
                self._put_back(target, champion, production, held)
            return self._rolled_back(held)

    def resume(self, by: str, through: Through = "cli") -> dict[str, Any]:
        """Let refreshes promote again."""
        with self._alone() as production:
            held = self.held()
            if held is not None:
                self._client.delete_registered_model_tag(NAME, HOLD)
            told = (
                f"Promotions, held by {held['by']}, go on by {by} ({through})."
                if held
                else "Promotions were not held."
            )
            champion = production.release.version if production.release else None
            return {"version": champion, "held": None, "reasons": [told]}

    def held(self) -> dict[str, Any] | None:
        """Who holds promotions (`by`), since when (`at`), for what `reason`, and which `release` left for it; None when nobody does."""
        model = unless("RESOURCE_DOES_NOT_EXIST", lambda: self._client.get_registered_model(NAME))
        return json.loads(model.tags[HOLD]) if model and HOLD in model.tags else None

    def reconcile(self) -> None:
        """Bring stages and times after the alias `champion`, from where a change that was killed half-way left them."""
        with self._alone():
            pass  # which every change begins with

    def _is_champion(self, version: int, production: Production) -> bool:
        return production.release is not None and production.release.version == version

    def _is_there(self, version: int, production: Production) -> bool:
        """Whether it is the champion, and the alias says so."""
        return self._is_champion(version, production) and production.problem is None

    def _earlier(self) -> list[int]:
        """The releases that were in Production before the champion and may serve again; the newest first."""
        points = [version for _, version in self.registry.curve(IN_PRODUCTION)]
        return earlier(points, {int(version.version): version.tags for version in self._stages.versions()})

    def _readable(self, targets: list[int], named: bool) -> tuple[int, list[int]]:
        """The first of `targets` that opens, and those before it that do not; an error when none does."""
        unread: list[int] = []
        for target in targets:
            try:
                check_stored(self.registry, self.registry.reference(target))
                return target, unread
            except UNREADABLE as error:
                if named:
                    raise type(error)(
                        f"Release {target} cannot be read, nothing was changed: {error}"
                    ) from error
                log.info(f"Release {target} is passed over, it cannot be read: {error}")
                unread.append(target)
        tried = ", ".join(map(str, unread))
        raise MissingError(
            f"No earlier release can be read, nothing was changed; tried: {tried}. See the log for why."
        )

    def _put_back(
        self, target: int, champion: int | None, production: Production, held: dict[str, Any]
    ) -> None:
        if champion not in (None, target):
            self._tag(champion, ROLLED_BACK, held["reason"])
        if ROLLED_BACK in self.registry.version(target).tags:
            self._client.delete_model_version_tag(NAME, str(target), ROLLED_BACK)
        left = champion or production.deleted or "none"
        self._bring(
            target, production, held["by"], held["through"], f"rolled back from {left}: {held['reason']}"
        )

    def _rolled_back(self, held: dict[str, Any]) -> dict[str, Any]:
        told = [
            f"Release {held['to']} is in Production. Refreshes promote nothing until `recsim rollback --resume`."
        ]
        if held.get("unreadable"):
            told.append(
                f"Passed over, because they cannot be read: {', '.join(map(str, held['unreadable']))}."
            )
        known = {
            "version": held["to"],
            "previous": held["release"],
            "stage": PRODUCTION,
            "reason": held["reason"],
        }
        return {**known, "held": held, "reasons": told}

    def _may_return(self, targets: list[int]) -> None:
        """A person in haste may mistype a number: not to what the gate held, or a person rejected."""
        if not targets:
            raise MissingError(
                "There is no earlier release to go back to. Name one with `--to`, or run a refresh."
            )
        for target in targets:
            if reason := unfit(self.registry.version(target).tags):
                raise RejectedError(
                    f"Release {target} may not go into Production: {reason}. Go back to one of `recsim releases`."
                )

    def _may_promote(self, version: int, production: Production, approved_at: float | None) -> bool:
        """Whether there is anything to do, if only to set a moved alias again; `RejectedError` when it may not be done."""
        if self._is_champion(version, production):
            return production.problem is not None
        champion = production.release.version if production.release else None
        if reason := promotion_refusal(
            version, self.registry.version(version).tags, champion, self.held(), approved_at
        ):
            raise RejectedError(reason)
        return True

    def history(self) -> list[dict[str, Any]]:
        """Who was in Production when, oldest first: `version`, `from`, `to` (unix seconds), `by`, `through`, `why`."""
        points = self.registry.curve(IN_PRODUCTION)
        ends = [*(at for at, _ in points[1:]), None][: len(points)]
        tags = {int(version.version): version.tags for version in self._stages.versions()}
        told = [
            json.loads(tags.get(version, {}).get(production_tag(number), "{}"))
            for number, (_, version) in enumerate(points)
        ]
        return [
            {"version": version, "from": at, "to": end}
            | {name: why.get(name) for name in ("by", "through", "why")}
            for (at, version), end, why in zip(points, ends, told, strict=True)
        ]

    def _approve(self, version: int, by: str, through: Through, approved_at: float | None) -> None:
        if approved_at is not None:
            self._tag(version, APPROVAL, Approval("approved", by, approved_at, through).as_tag())

    def _bring(self, version: int, production: Production, by: str, through: Through, why: str) -> None:
        """By whom and why is written before the alias, the time after it."""
        before = production.release.version if production.release else None
        number = len(self.registry.curve(IN_PRODUCTION))
        self._tag(version, production_tag(number), json.dumps({"by": by, "through": through, "why": why}))
        self._tag(version, "approver", by)
        self._stages.enthrone(version, before if before != version else None)
        self._note(version)
        log.info(f"Release {version} is in Production, {f'before it {before}' if before else 'the first'}.")

    def _note(self, champion: int | None) -> None:
        """Have the champion as the last point of the history, with who brought it there."""
        points = self.registry.curve(IN_PRODUCTION)
        if champion is None or (points and points[-1][1] == champion):
            return
        tag = production_tag(len(points))
        if tag not in self.registry.version(champion).tags:
            self._tag(
                champion, tag, json.dumps({"through": "mlflow", "why": "the alias was moved in MLflow"})
            )
        self.registry.follow({IN_PRODUCTION: champion}, len(points))

    def _tag(self, version: int | None, name: str, value: str) -> None:
        self._client.set_model_version_tag(NAME, str(version), name, value)

    @contextmanager
    def _alone(self) -> Iterator[Production]:
        """Lock the registry against other changes, its stages and history brought after the champion."""
        with self.registry.alone():
            production = self.registry.production()
            if production.problem:
                log.info(production.problem)
            champion = production.release.version if production.release else None
            self._stages.reconcile(champion)
            if production.problem is None:
                self._note(champion)
            yield production
