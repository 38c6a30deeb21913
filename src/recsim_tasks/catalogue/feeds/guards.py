"""Guards: pure rules that put a feed on hold, by its effect on each category, until a person decides."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from recsim_tasks.contracts import GuardViolation, RowCounts
from recsim_tasks.foundation.settings import Settings

# A share of fewer than these means little: one of four products is 25%.
MIN_COUNT = 20
WITHDRAWING = ("delete", "withdraw")


@dataclass(frozen=True)
class ActionCount:
    """The number of rows with the same `action`, by the product's category before and after."""

    action: str
    before: str | None
    after: str | None
    count: int


@dataclass(frozen=True)
class FeedEffect:
    """What a feed would do to the catalogue."""

    actions: list[ActionCount]
    products: dict[str | None, int]
    """Products of the catalogue by category, before the feed."""

    def count(self, *actions: str) -> int:
        """Return the number of rows with one of these actions."""
        return sum(entry.count for entry in self.actions if entry.action in actions)

    @property
    def rows(self) -> int:
        """The number of the feed's rows; a withdrawal is of a product that the feed does not name."""
        return sum(entry.count for entry in self.actions if entry.action != "withdraw")

    @property
    def row_counts(self) -> RowCounts:
        """The counts as results state them."""
        return RowCounts(
            inserted=self.count("insert"),
            updated=self.count("update"),
            deleted=self.count(*WITHDRAWING),
            unchanged=self.count("unchanged"),
            outdated=self.count("outdated"),
            quarantined=self.count("quarantine"),
        )


def check_guards(effect: FeedEffect, settings: Settings) -> list[GuardViolation]:
    """Return the guards that the feed violates."""
    measured = [
        _withdrawn(effect, settings),
        *_withdrawn_by_category(effect, settings),
        _quarantined(effect, settings),
        _category_shift(effect, settings),
    ]
    return [guard for guard in measured if guard is not None and guard.value > guard.limit]


def _withdrawn(effect: FeedEffect, settings: Settings) -> GuardViolation | None:
    products, withdrawn = sum(effect.products.values()), effect.count(*WITHDRAWING)
    if not products:
        return None
    what = f"would withdraw {withdrawn:,} of {products:,} products"
    return _share(settings, "max_withdrawn_share", withdrawn / products, what)


def _withdrawn_by_category(effect: FeedEffect, settings: Settings) -> list[GuardViolation]:
    withdrawn: Counter[str | None] = Counter()
    for entry in effect.actions:
        withdrawn[entry.before] += entry.count if entry.action in WITHDRAWING else 0
    return [
        _share(
            settings,
            "max_withdrawn_category_share",
            withdrawn[category] / products,
            f"would withdraw {withdrawn[category]:,} of {products:,} products of category {category!r}",
            category,
        )
        for category, products in sorted(effect.products.items(), key=lambda item: str(item[0]))
        if products >= MIN_COUNT
    ]


def _quarantined(effect: FeedEffect, settings: Settings) -> GuardViolation | None:
    if effect.rows < MIN_COUNT:
        return None
    invalid = effect.count("quarantine")
    what = f"has {invalid:,} invalid rows of {effect.rows:,}"
    return _share(settings, "max_quarantined_share", invalid / effect.rows, what)


def _category_shift(effect: FeedEffect, settings: Settings) -> GuardViolation | None:
    """Total variation distance between the category distributions before and after the feed."""
    before, after = Counter(effect.products), Counter(effect.products)
    for entry in effect.actions:
        after[entry.before] -= entry.count if entry.action in ("update", *WITHDRAWING) else 0
        after[entry.after] += entry.count if entry.action in ("update", "insert") else 0
    if before.total() < MIN_COUNT or after.total() < MIN_COUNT:
        return None
    shifts = {
        category: after[category] / after.total() - before[category] / before.total()
        for category in before | after
    }
    value, limit = sum(map(abs, shifts.values())) / 2, settings.max_category_shift
    largest = max(shifts, key=lambda category: abs(shifts[category]))
    return GuardViolation(
        guard="max_category_shift",
        value=value,
        limit=limit,
        sentence=f"The feed would move {_percent(value)} of the catalogue between categories, most of all "
        f"{largest!r} from {_percent(before[largest] / before.total())} to "
        f"{_percent(after[largest] / after.total())}; RECSIM_MAX_CATEGORY_SHIFT allows {_percent(limit)}.",
    )


def _share(
    settings: Settings, guard: str, value: float, what: str, category: str | None = None
) -> GuardViolation:
    limit = float(getattr(settings, guard))
    return GuardViolation(
        guard=guard,
        value=value,
        limit=limit,
        category=category,
        sentence=f"The feed {what} ({_percent(value)}); RECSIM_{guard.upper()} allows {_percent(limit)}.",
    )


def _percent(share: float) -> str:
    """Three significant digits, so that a share just above its limit differs from it."""
    return f"{100 * share:.3g}%"
