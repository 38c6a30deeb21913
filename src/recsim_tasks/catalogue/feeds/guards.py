"""Which feeds a person must look at first: pure rules over what a feed would do, by category."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from recsim_tasks.foundation.settings import Settings

# A share of fewer than these says little: one of four products is 25 %.
FEWEST = 20
GONE = ("delete", "withdraw")


@dataclass(frozen=True)
class Done:
    """How many rows of a feed have the same `action`, in a product's category before and after."""

    action: str
    before: str | None
    after: str | None
    count: int


@dataclass(frozen=True)
class Tally:
    """What a feed would do: `done` by action and categories, and the catalogue's `products` by category as they are."""

    done: list[Done]
    products: dict[str | None, int]

    def count(self, *actions: str) -> int:
        """How many rows have one of the actions."""
        return sum(entry.count for entry in self.done if entry.action in actions)

    @property
    def rows(self) -> int:
        """How many rows the feed has; withdrawals are of products that it does not name."""
        return sum(entry.count for entry in self.done if entry.action != "withdraw")


@dataclass(frozen=True)
class Figure:
    """One guard that says no: what it found, what is allowed (both are shares), and both in a sentence."""

    guard: str
    value: float
    limit: float
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """The form that results carry."""
        return asdict(self)


def judge(tally: Tally, settings: Settings) -> list[Figure]:
    """The guards that hold the feed back; empty when none does."""
    figures = [
        _withdrawn(tally, settings),
        *_withdrawn_by_category(tally, settings),
        _quarantined(tally, settings),
        _shifted(tally, settings),
    ]
    return [figure for figure in figures if figure is not None and figure.value > figure.limit]


def _withdrawn(tally: Tally, settings: Settings) -> Figure | None:
    there, gone = sum(tally.products.values()), tally.count(*GONE)
    return (
        _share("max_withdrawn_share", gone, there, "would withdraw {} of {} products", settings)
        if there
        else None
    )


def _withdrawn_by_category(tally: Tally, settings: Settings) -> list[Figure]:
    gone: Counter[str | None] = Counter()
    for entry in tally.done:
        gone[entry.before] += entry.count if entry.action in GONE else 0
    return [
        _share(
            "max_withdrawn_category_share",
            gone[category],
            there,
            f"would withdraw {{}} of {{}} products of category {category!r}",
            settings,
        )
        for category, there in sorted(tally.products.items(), key=lambda item: str(item[0]))
        if there >= FEWEST
    ]


def _quarantined(tally: Tally, settings: Settings) -> Figure | None:
    if tally.rows < FEWEST:
        return None
    return _share(
        "max_quarantined_share",
        tally.count("quarantine"),
        tally.rows,
        "has {} of {} rows that cannot be taken",
        settings,
    )


def _shifted(tally: Tally, settings: Settings) -> Figure | None:
    """Total variation distance of the catalogue's categories before and after: the share of products that would stand elsewhere."""
    before, after = Counter(tally.products), Counter(tally.products)
    for entry in tally.done:
        after[entry.before] -= entry.count if entry.action in ("update", *GONE) else 0
        after[entry.after] += entry.count if entry.action in ("update", "insert") else 0
    if before.total() < FEWEST or after.total() < FEWEST:
        return None
    moved = {
        category: after[category] / after.total() - before[category] / before.total()
        for category in before | after
    }
    value, limit = sum(map(abs, moved.values())) / 2, settings.max_category_shift
    most = max(moved, key=lambda category: abs(moved[category]))
    return Figure(
        "max_category_shift",
        round(value, 4),
        limit,
        f"The feed would move {value:.0%} of the catalogue between categories, most of all {most!r} from {before[most] / before.total():.0%} "
        f"to {after[most] / after.total():.0%}; RECSIM_MAX_CATEGORY_SHIFT allows {limit:.0%}.",
    )


def _share(guard: str, part: int, whole: int, what: str, settings: Settings) -> Figure:
    limit = float(getattr(settings, guard))
    told = what.format(f"{part:,}", f"{whole:,}")
    return Figure(
        guard,
        round(part / whole, 4),
        limit,
        f"The feed {told} ({part / whole:.0%}); RECSIM_{guard.upper()} allows {limit:.0%}.",
    )
