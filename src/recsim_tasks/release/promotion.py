"""Which release is in Production: promote, roll back, hold, and who was there when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recsim_tasks.foundation.errors import HeldError, InputError
from recsim_tasks.foundation.progress import say
from recsim_tasks.release.registry import NO_RELEASE, Registry
from recsim_tasks.release.stages import CHAMPION, NAME, PREVIOUS, PRODUCTION, unless

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# A tag of the registered model, while nothing is promoted.
HOLD = "promotion.held"
# The metric whose points, in order, are the versions that were in Production; MLflow draws it.
IN_PRODUCTION = "in_production"
# A tag of a version, with the reason.
ROLLED_BACK = "rolled_back"


class Promotions:
    """Changes of what is in Production, one at a time; each begins by mending what a killed one left."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self._client, self._stages = registry, registry.client, registry.stages

    def promote(self, version: int, by: str = "refresh") -> dict[str, Any]:
        """Make `version` the release in Production, model and index together; nothing changes when it is already.

        `HeldError` when the gate held it, when promotions are held since a rollback, or when another release has come into Production
        since the gate compared it with what was there: only the latest refresh may promote.
        """
        with self._alone():
            found, champion = self.registry.version(version), self._stages.aliases().get(CHAMPION)
            if champion != version:
                self._refuse(found, champion)
                self._change(version, champion, by, "promoted")
            previous = self._stages.aliases().get(PREVIOUS)
            return {"version": version, "previous": previous if previous != version else None, "stage": PRODUCTION}

    def rollback(self, to: int | None, reason: str, by: str) -> dict[str, Any]:
        """Put `to`, or the release before the champion, back into Production, and hold what refreshes would promote, until `resume`.

        Made again without `to`, as a retry does, it has the outcome of the first time: it does not go one further back.
        """
        with self._alone():
            champion, before = self._stages.aliases().get(CHAMPION), self.held()
            target = to if to is not None else before["to"] if before else self._before(champion)
            if before and before["to"] == target == champion:
                return self._rolled_back(target, before)
            self._may_return(target)
            held = {"by": by, "at": time.time(), "reason": reason or "no reason given", "release": champion, "to": target}
            self._client.set_registered_model_tag(NAME, HOLD, json.dumps(held))
            if target != champion:
                self._put_back(target, champion, held)
            return self._rolled_back(target, held)

    def resume(self, by: str) -> dict[str, Any]:
        """Let refreshes promote again."""
        with self._alone():
            held = self.held()
            if held is not None:
                self._client.delete_registered_model_tag(NAME, HOLD)
            told = f"Promotions, held by {held['by']}, go on by {by}." if held else "Promotions were not held."
            return {"version": self._stages.aliases().get(CHAMPION), "held": None, "reasons": [told]}

    def held(self) -> dict[str, Any] | None:
        """Who holds promotions (`by`), since when (`at`), for what `reason`, and which `release` left for it; None when nobody does."""
        model = unless("RESOURCE_DOES_NOT_EXIST", lambda: self._client.get_registered_model(NAME))
        return json.loads(model.tags[HOLD]) if model and HOLD in model.tags else None

    def reconcile(self) -> None:
        """Bring stages and times after the alias `champion`, from where a change that was killed half-way left them."""
        with self._alone():
            pass  # which every change begins with

    def _put_back(self, target: int, champion: int | None, held: dict[str, Any]) -> None:
        if champion is not None:
            self._client.set_model_version_tag(NAME, str(champion), ROLLED_BACK, held["reason"])
        if ROLLED_BACK in self.registry.version(target).tags:
            self._client.delete_model_version_tag(NAME, str(target), ROLLED_BACK)
        self._change(target, champion, held["by"], f"rolled back from {champion or 'none'}: {held['reason']}")

    def _rolled_back(self, target: int, held: dict[str, Any]) -> dict[str, Any]:
        told = f"Release {target} is in Production. Refreshes promote nothing until `recsim rollback --resume`."
        return {
            "version": target,
            "previous": held["release"],
            "stage": PRODUCTION,
            "reason": held["reason"],
            "held": held,
            "reasons": [told],
        }

    def _may_return(self, target: int) -> None:
        """Whoever goes back in haste may mistype a number: not to what the gate held."""
        if self.registry.version(target).tags.get("gate.verdict") != "pass":
            raise HeldError(f"Release {target} was never let through by the gate. Go back to one of `recsim releases`.")

    def _refuse(self, found: ModelVersion, champion: int | None) -> None:
        version, tags = int(found.version), found.tags
        if tags.get("gate.verdict") != "pass":
            raise HeldError(f"The gate held release {version}, it stays in Staging. {tags.get('gate.reasons', '')}".rstrip())
        if ROLLED_BACK in tags:
            raise HeldError(
                f"Release {version} was rolled back: {tags[ROLLED_BACK]}. If it is to serve all the same: `recsim rollback --to {version}`, then `--resume`."
            )
        if held := self.held():
            day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(held["at"]))
            raise HeldError(
                f"Promotions are held by {held['by']} since {day}: {held['reason']}. Release {version} stays in Staging; "
                "`recsim rollback --resume` lets the next refresh promote."
            )
        against = tags.get("gate.champion", "")
        if against != str(champion or ""):
            raise HeldError(
                f"Release {version} was judged against {f'release {against}' if against else 'none'}, but {f'release {champion}' if champion else 'none'} "
                "is in Production now. It stays in Staging; run the refresh again, or name an earlier release with `recsim rollback --to`."
            )

    def history(self) -> list[dict[str, Any]]:
        """Who was in Production when, oldest first: `version`, `from`, `to` (unix seconds, None: still), `by`, `why`."""
        points = self.registry.curve(IN_PRODUCTION)
        ends = [*(at for at, _ in points[1:]), None][: len(points)]
        tags = {int(version.version): version.tags for version in self._stages.versions()}
        told = [json.loads(tags.get(version, {}).get(_tag(number), "{}")) for number, (_, version) in enumerate(points)]
        return [
            {"version": version, "from": at, "to": end, "by": why.get("by"), "why": why.get("why")}
            for (at, version), end, why in zip(points, ends, told, strict=True)
        ]

    def _change(self, version: int, champion: int | None, by: str, why: str) -> None:
        """By whom and why is written before the alias, the time after it."""
        number = len(self.registry.curve(IN_PRODUCTION))
        self._client.set_model_version_tag(NAME, str(version), _tag(number), json.dumps({"by": by, "why": why}))
        self._client.set_model_version_tag(NAME, str(version), "approver", by)
        self._stages.enthrone(version, champion)
        self._note_champion()
        say(f"Release {version} is in Production, {f'before it {champion}' if champion else 'the first'}.")

    def _note_champion(self) -> None:
        """Have the champion as the last point of the curve of what was in Production."""
        champion, points = self._stages.aliases().get(CHAMPION), self.registry.curve(IN_PRODUCTION)
        if champion is not None and (not points or points[-1][1] != champion):
            self.registry.follow({IN_PRODUCTION: champion}, len(points))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the registry against other changes, with stages and times as the alias says."""
        with self.registry.alone():
            self._stages.reconcile()
            self._note_champion()
            yield

    def _before(self, champion: int | None) -> int:
        """The last release that was in Production before the champion, is still in the registry, and was not rolled back itself."""
        if champion is None:
            raise InputError(f"There is nothing to roll back. {NO_RELEASE}")
        good = {int(version.version) for version in self._stages.versions() if ROLLED_BACK not in version.tags} - {champion}
        earlier = [version for _, version in self.registry.curve(IN_PRODUCTION) if version in good]
        if not earlier:
            raise InputError(f"Release {champion} has none before it to go back to. Name one: `recsim rollback --to V`.")
        return earlier[-1]


def _tag(number: int) -> str:
    """Of a version: by whom and why it came into Production as that point of the curve."""
    return f"production.{number}"
