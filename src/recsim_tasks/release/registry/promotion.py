"""Change which release is in Production: promote, reject, roll back, resume; and its history."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from recsim_tasks.contracts import (
    REGISTERED_MODEL,
    Freeze,
    ProductionPeriod,
    PromoteResult,
    ResumeResult,
    RollbackResult,
)
from recsim_tasks.foundation.errors import MissingError, RejectedError
from recsim_tasks.release.registry.approval import (
    APPROVAL,
    LONGEST_REASON,
    Approval,
    Through,
    approval_of,
    refusal,
)
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.local_copy import UNREADABLE, check_stored
from recsim_tasks.release.registry.production import (
    IN_PRODUCTION,
    ROLLED_BACK,
    Production,
    earlier_versions,
    production_tag,
    unfit_reason,
)
from recsim_tasks.release.registry.refusals import promotion_refusal
from recsim_tasks.release.registry.stages import PREVIOUS, PRODUCTION

log = logging.getLogger(__name__)

# The tag of the registered model while promotions are frozen.
FROZEN_TAG = "promotion.frozen"


class Promotions:
    """Changes which release is in Production, one change at a time.

    Each first repairs what a killed one left.

    A release is opened as MLflow stores it, with all its checks, before anything is changed for it. A name
    comes `through` Airflow, which authenticates its users, or the command line, which takes the name it is
    given.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry, self._client, self._stages = registry, registry.client, registry.stages

    def promote(
        self, version: int, by: str = "refresh", through: Through = "cli", approved_at: float | None = None
    ) -> PromoteResult:
        """Make `version` the release in Production, model and index together.

        Nothing changes if it already is.

        `approved_at` is when `by` approved it, if an approval was asked for. `RejectedError` if the gate or a
        person rejected it, if it lacks an approval, or if another release came into Production since the gate
        compared it with the champion; `FrozenError` while promotions are frozen; `InputError` or
        `MissingError` if it cannot be read.
        """
        with self._locked() as production:
            to_do = self._may_promote(version, production, approved_at)
        if to_do:
            # A download may take minutes, and must not block other changes.
            check_stored(self.registry, self.registry.reference(version))
            with self._locked() as production:
                if self._may_promote(version, production, approved_at):
                    self._approve(version, by, through, approved_at)
                    self._set_production(version, production, by, through, "promoted")
        with self.registry.translated_errors():
            previous = self._stages.aliases().get(PREVIOUS)
        return PromoteResult(
            version=version, previous=previous if previous != version else None, stage=PRODUCTION
        )

    def reject(self, version: int, rejection: Approval) -> RejectedError:
        """Record the rejection of a release, which then needs a new approval.

        Returns the error to raise.
        """
        with self._locked() as production:
            if self._is_champion(version, production):
                return RejectedError(
                    f"Release {version} is in Production already. Go back with `recsim rollback`."
                )
            known = approval_of(self.registry.version(version).tags)
            if known is None or known.state != "approved" or (rejection.at or 0) > (known.at or 0):
                self._tag(version, APPROVAL, rejection.as_tag())
            reason = refusal(self.registry.version(version).tags) or "it was approved later"
        return RejectedError(f"Release {version} stays in Staging: {reason}.")

    def rollback(self, to: int | None, reason: str, by: str, through: Through = "cli") -> RollbackResult:
        """Put `to`, or the newest earlier release that can be read, back into Production.

        Promotions are frozen until `resume`. Repeated without `to`, as by a retry, it has the outcome of the
        first time: it does not go back further.
        """
        with self._locked() as production:
            before = self.freeze()
            if before and to in (None, before.to) and self._is_settled(before.to, production):
                return _rolled_back(before)
            targets = [to] if to is not None else self._earlier(before)
            self._check_targets(targets)
        target, unreadable = self._readable(targets, named=to is not None)
        with self._locked() as production:
            champion = production.release.version if production.release and not production.deleted else None
            freeze = Freeze(
                by=by,
                through=through,
                at=time.time(),
                reason=reason[:LONGEST_REASON] or "no reason given",
                release=champion if champion != target else None,
                to=target,
                unreadable=unreadable,
            )
            self._client.set_registered_model_tag(REGISTERED_MODEL, FROZEN_TAG, freeze.model_dump_json())
            if not self._is_settled(target, production):
                self._restore(production, freeze)
            return _rolled_back(freeze)

    def resume(self, by: str, through: Through = "cli") -> ResumeResult:
        """Let refreshes promote again."""
        with self._locked() as production:
            freeze = self.freeze()
            if freeze is not None:
                self._client.delete_registered_model_tag(REGISTERED_MODEL, FROZEN_TAG)
            sentence = (
                f"{by} ({through}) resumed promotions, which {freeze.by} had frozen."
                if freeze
                else "Promotions were not frozen."
            )
            champion = production.release.version if production.release else None
            return ResumeResult(version=champion, reasons=[sentence])

    def freeze(self) -> Freeze | None:
        """Who froze promotions, when and why; None if they are not frozen."""
        with self.registry.translated_errors():
            model = self._stages.registered_model()
        if model is None or FROZEN_TAG not in model.tags:
            return None
        return Freeze.model_validate_json(model.tags[FROZEN_TAG])

    def reconcile(self) -> None:
        """Bring stages and history in line with the alias `champion` after a killed change."""
        with self._locked():
            pass  # every change begins with this

    def history(self) -> list[ProductionPeriod]:
        """Which release was in Production when, oldest first, and who put it there."""
        with self.registry.translated_errors():
            points, versions = self.registry.curve(IN_PRODUCTION), self._stages.versions()
        ends = [*(at for at, _ in points[1:]), None][: len(points)]
        tags = {int(version.version): version.tags for version in versions}
        periods = []
        for number, ((start, version), end) in enumerate(zip(points, ends, strict=True)):
            entry = json.loads(tags.get(version, {}).get(production_tag(number), "{}"))
            who = {name: entry.get(name) for name in ("by", "through", "why")}
            periods.append(
                ProductionPeriod.model_validate({"version": version, "from": start, "to": end, **who})
            )
        return periods

    def _is_champion(self, version: int, production: Production) -> bool:
        return production.release is not None and production.release.version == version

    def _is_settled(self, version: int, production: Production) -> bool:
        """Whether it is the champion, and the alias agrees."""
        return self._is_champion(version, production) and production.problem is None

    def _earlier(self, before: Freeze | None) -> list[int]:
        """The release of an unfinished rollback, if it may serve, then earlier ones, newest first."""
        points = [version for _, version in self.registry.curve(IN_PRODUCTION)]
        tags = {int(version.version): version.tags for version in self._stages.versions()}
        chosen = [before.to] if before and before.to in tags and not unfit_reason(tags[before.to]) else []
        return [*chosen, *earlier_versions(points, tags)]

    def _readable(self, targets: list[int], *, named: bool) -> tuple[int, list[int]]:
        """The first of `targets` that can be opened, and those before it that cannot.

        An error if none can.
        """
        unreadable: list[int] = []
        for target in targets:
            try:
                check_stored(self.registry, self.registry.reference(target))
                return target, unreadable
            except UNREADABLE as error:
                if named:
                    raise type(error)(
                        f"Release {target} cannot be read, nothing was changed: {error}"
                    ) from error
                log.warning("Release %d is skipped because it cannot be read: %s", target, error)
                unreadable.append(target)
        tried = ", ".join(map(str, unreadable))
        raise MissingError(
            f"No earlier release can be read, nothing was changed; tried: {tried}. The log says why."
        )

    def _restore(self, production: Production, freeze: Freeze) -> None:
        if freeze.release is not None:
            self._tag(freeze.release, ROLLED_BACK, freeze.reason)
        if ROLLED_BACK in self.registry.version(freeze.to).tags:
            self._client.delete_model_version_tag(REGISTERED_MODEL, str(freeze.to), ROLLED_BACK)
        left = freeze.release or production.deleted or "none"
        why = f"rolled back from {left}: {freeze.reason}"
        self._set_production(freeze.to, production, freeze.by, freeze.through, why)

    def _check_targets(self, targets: list[int]) -> None:
        """Refuse a rollback to a release that the gate or a person rejected.

        The number may be a typing error.
        """
        if not targets:
            raise MissingError(
                "There is no earlier release to go back to. Name one with `--to`, or run a refresh."
            )
        for target in targets:
            if reason := unfit_reason(self.registry.version(target).tags):
                raise RejectedError(
                    f"Release {target} may not go into Production: {reason}. Choose one of `recsim releases`."
                )

    def _may_promote(self, version: int, production: Production, approved_at: float | None) -> bool:
        """Whether there is anything to do, if only to restore a moved alias.

        `BlockedError` if it is not allowed.
        """
        if self._is_champion(version, production):
            return production.problem is not None
        champion = production.release.version if production.release else None
        tags = self.registry.version(version).tags
        if error := promotion_refusal(version, tags, champion, self.freeze(), approved_at):
            raise error
        return True

    def _approve(self, version: int, by: str, through: Through, approved_at: float | None) -> None:
        if approved_at is not None:
            self._tag(version, APPROVAL, Approval("approved", by, approved_at, through).as_tag())

    def _set_production(
        self, version: int, production: Production, by: str, through: Through, why: str
    ) -> None:
        """Write who and why before the alias, and the time after it."""
        previous = production.release.version if production.release else None
        number = len(self.registry.curve(IN_PRODUCTION))
        entry = json.dumps({"by": by, "through": through, "why": why}, ensure_ascii=False)
        self._tag(version, production_tag(number), entry)
        self._tag(version, "approver", by)
        self._stages.set_production(version, previous if previous != version else None)
        self._record(version)
        log.info("Release %d is in Production; the previous one is %s.", version, previous or "none")

    def _record(self, champion: int | None) -> None:
        """Make the champion the last point of the history, with who put it into Production."""
        points = self.registry.curve(IN_PRODUCTION)
        if champion is None or (points and points[-1][1] == champion):
            return
        tag = production_tag(len(points))
        if tag not in self.registry.version(champion).tags:
            self._tag(
                champion, tag, json.dumps({"through": "mlflow", "why": "the alias was moved in MLflow"})
            )
        self.registry.add_points({IN_PRODUCTION: champion}, len(points))

    def _tag(self, version: int | None, name: str, value: str) -> None:
        self._client.set_model_version_tag(REGISTERED_MODEL, str(version), name, value)

    @contextmanager
    def _locked(self) -> Iterator[Production]:
        """Lock the registry against other changes, with stages and history in line with the champion."""
        with self.registry.locked():
            production = self.registry.production()
            if production.problem:
                log.warning("%s", production.problem)
            champion = production.release.version if production.release else None
            self._stages.reconcile(champion)
            if production.problem is None:
                self._record(champion)
            yield production


def _rolled_back(freeze: Freeze) -> RollbackResult:
    reasons = [f"Release {freeze.to} is in Production. Promotions are frozen until `recsim resume`."]
    if freeze.unreadable:
        skipped = ", ".join(map(str, freeze.unreadable))
        reasons.append(f"Skipped because they cannot be read: {skipped}.")
    return RollbackResult(
        version=freeze.to, previous=freeze.release, stage=PRODUCTION, frozen=freeze, reasons=reasons
    )
