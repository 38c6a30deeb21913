"""The gate's verdict as one page for people: a table of rules, and what champion and challenger answer, side by side. HTML that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np

from recsim_tasks.catalogue.images.decode import small_jpeg
from recsim_tasks.release.evaluation.queries import Answered
from recsim_tasks.release.gate.gate import Verdict
from recsim_tasks.release.gate.rules import Rule

# Queries on which the two differ most, this many for the worse and for the better; neighbours of each.
QUERIES, NEIGHBOURS = 6, 6
SIDE = 64
STYLE = """
:root { color-scheme: light; --ink: #0f172a; --faint: #64748b; --line: #e2e8f0; --good: #15803d; --bad: #b91c1c }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem } p { margin: .3rem 0; color: var(--faint) }
.pass { color: var(--good) } .hold { color: var(--bad) }
p { overflow-wrap: anywhere } table { border-collapse: collapse; width: 100% } td, th { padding: .5rem 0 .5rem .8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { font-weight: 600 } th, small { color: var(--faint); font-size: .85rem } td:first-child, th:first-child { padding-left: 0 } small { display: block }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.sheet { display: grid; grid-template-columns: auto 1fr 1fr; gap: .4rem 1.6rem; align-items: center; overflow-x: auto }
.row { display: flex; gap: .3rem } figure { margin: 0; width: 64px } figcaption { font-size: .68rem; color: var(--faint); overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
img { width: 64px; height: 64px; object-fit: contain; border-radius: 6px; border: 2px solid var(--line); box-sizing: border-box; background: #f8fafc; display: block }
img.own { border-color: var(--good) } img.other { border-color: var(--bad) }
@media (max-width: 64rem) { .sheet { column-gap: .6rem } .row { gap: .15rem } figure, img { width: 38px; height: 38px } figcaption { display: none } }
"""
FIGURES = "".join(
    f'<th class="n">{name}' for name in ("challenger", "champion", "difference<small>95 % interval</small>")
)
Product = tuple[str, str]


@dataclass(frozen=True)
class Side:
    """What a release answers, and of each of its products category and picture's hash."""

    answered: Answered
    product: Callable[[str], Product]
    """Category and hash by product id."""


def page(
    title: str,
    verdict: Verdict,
    challenger: Side,
    champion: Side | None,
    pictures: Callable[[set[str]], Mapping[str, bytes]],
) -> str:
    """Draw the verdict; `pictures` gives the pictures of hashes, as they were delivered, as far as there are any."""
    rows = _most_different(challenger.answered, champion.answered if champion else None)
    sides = [side for side in (champion, challenger) if side]
    shown = {side.product(name)[1] for side in sides for row in rows for name in _names(side, row)}
    thumbnails = {image_hash: thumbnail(data) for image_hash, data in pictures(shown).items()}
    heads = "".join(
        f"<p>{name}</p>"
        for name in ("asked for", *(["the champion answers"] if champion else []), "the challenger answers")
    )
    cells = "".join(
        _cell(side, row, thumbnails, n) for row in rows for n, side in enumerate([sides[0], *sides])
    )
    word = {"pass": "Passes", "hold": "Held"}[verdict.verdict]
    columns = "auto 1fr 1fr" if champion else "auto 1fr"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'<h1 class="{verdict.verdict}">{word}</h1><p>{escape(title)}</p>{_summary(verdict)}'
        f"<h2>Rules</h2><table><tr><th>rule<th>{FIGURES}</tr>{''.join(map(_rule, verdict.rules))}</table>"
        f"<h2>Answers{' that differ most' if champion else ''}</h2><p>A green frame is the category that was asked for.</p>"
        f'<div class="sheet" style="grid-template-columns: {columns}">{heads}{cells}</div></html>'
    )


def thumbnail(data: bytes) -> str:
    """A picture as a `data:` address of a small JPEG."""
    return f"data:image/jpeg;base64,{base64.b64encode(small_jpeg(data, SIDE)).decode()}"


def _summary(verdict: Verdict) -> str:
    broken = [rule for rule in verdict.rules if not rule.passed]
    if not broken:
        return f"<p>All {len(verdict.rules)} rules are kept.</p>"
    return "".join(f'<p class="hold">{escape(rule.rule)}: {escape(rule.sentence)}</p>' for rule in broken)


def _rule(rule: Rule) -> str:
    mark = '<td class="pass">kept' if rule.passed else '<td class="hold">broken'
    apart = (
        f"{rule.difference.mean:+.4f}<small>{rule.difference.low:+.4f} to {rule.difference.high:+.4f}</small>"
        if rule.difference
        else ""
    )
    figures = "".join(
        f'<td class="n">{text}' for text in (_figure(rule.challenger), _figure(rule.champion), apart)
    )
    return f"<tr><td>{escape(rule.rule)}: {escape(rule.limit)}<small>{escape(rule.sentence)}</small>{mark}{figures}</tr>"


def _figure(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:,.4g}"


def _most_different(challenger: Answered, champion: Answered | None) -> list[int]:
    """Rows of the queries that lost most, then of those that gained most; of one release those that it answers worst."""
    own = challenger.figures["precision_at_10"]
    change = own - champion.figures["precision_at_10"] if champion else own
    order = np.argsort(change, kind="stable").tolist()
    return list(dict.fromkeys([*order[:QUERIES], *(order[::-1][:QUERIES] if champion else [])]))


def _names(side: Side, row: int) -> list[str]:
    return [str(side.answered.product_ids[row]), *map(str, side.answered.nearest[row][:NEIGHBOURS])]


def _cell(side: Side, row: int, thumbnails: Mapping[str, str], place: int) -> str:
    """The query alone at place 0, else what `side` answers to it."""
    query, *near = _names(side, row)
    label = side.answered.labels[row]
    if place == 0:
        return f'<div class="row">{_picture(query, label, thumbnails.get(side.product(query)[1]), "")}</div>'
    found = [(name, *side.product(name)) for name in near]
    figures = [
        _picture(name, own, thumbnails.get(image), "own" if own == label else "other")
        for name, own, image in found
    ]
    return f'<div class="row">{"".join(figures)}</div>'


def _picture(product_id: str, category: str, address: str | None, frame: str) -> str:
    told = escape(f"{product_id}, {category or 'no category'}", quote=True)
    source = f'src="{address}" ' if address else ""
    return f'<figure title="{told}"><img {source}class="{frame}" alt="{told}"><figcaption>{escape(category)}</figcaption></figure>'
