"""Takes screenshots in a headless Chromium: sharp, cropped, and small as files."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.foundation.prerequisites import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Locator, Page

# Pixels of an image per pixel of the page, so that text is sharp on any screen.
SCALE = 2
# An image has as many colours as fit into so many bytes.
COLOURS, MOST_BYTES = (256, 128, 64, 32), 250_000
# Patient, because a refresh may keep the cores busy.
SETTLE_SECONDS = 120.0
PAUSE_MILLISECONDS = 700


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser; a page that does not show what it should is an `UnavailableError`."""
    from playwright.sync_api import Error, sync_playwright

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"]) as browser,
    ):
        try:
            yield browser
        except Error as error:
            raise UnavailableError(f"A page does not show what it should: {error}") from error


def new_page(
    browser: Browser,
    size: tuple[int, int],
    cookies: Mapping[str, tuple[str, str]] | None = None,
    storage: Mapping[str, str] | None = None,
) -> Page:
    """An empty page of `size` (width, height).

    :param cookies: value and address of each cookie
    :param storage: items of the browser's local storage, in JSON
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, device_scale_factor=SCALE, locale="en-GB"
    )
    context.add_cookies(
        [{"name": name, "value": value, "url": url} for name, (value, url) in (cookies or {}).items()]
    )
    for name, value in (storage or {}).items():
        context.add_init_script(f"localStorage.setItem({json.dumps(name)}, {json.dumps(value)})")
    page = context.new_page()
    page.set_default_timeout(SETTLE_SECONDS * 1_000)
    return page


def take(page: Page, path: Path, clip: FloatRect | None = None) -> Path:
    """Write what the page shows, or its part `clip`, as a PNG when nothing moves any more."""
    pixels = _settled(page, clip)
    with Image.open(io.BytesIO(pixels)) as image:
        image.convert("RGB").save(path, "PNG")
    compress(path)
    return path


def compress(path: Path) -> None:
    """Reduce a PNG to a palette, which is a third of the size and looks the same for pages."""
    with Image.open(path) as image:
        original = image.convert("RGB")
    for colours in COLOURS:
        # The other methods lose rare colours, such as that of a link, where an image has many greys.
        reduced = original.quantize(colours, Image.Quantize.MAXCOVERAGE, 3, dither=Image.Dither.NONE)
        reduced.save(path, "PNG", optimize=True)
        if path.stat().st_size < MOST_BYTES:
            return


def around(locator: Locator, margin: float = 0) -> FloatRect:
    """The smallest part of the page that has all elements of `locator`, and a margin."""
    boxes = [box for element in locator.all() if (box := element.bounding_box())]
    if not boxes:
        raise UnavailableError("The page does not show what the screenshot is to show.")
    left, top = min(box["x"] for box in boxes), min(box["y"] for box in boxes)
    right = max(box["x"] + box["width"] for box in boxes)
    bottom = max(box["y"] + box["height"] for box in boxes)
    return {
        "x": max(0, left - margin),
        "y": max(0, top - margin),
        "width": right - left + 2 * margin,
        "height": bottom - top + 2 * margin,
    }


def _settled(page: Page, clip: FloatRect | None) -> bytes:
    """A screenshot that equals the one before it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before, now = b"", page.screenshot(clip=clip)
    while before != now:
        if time.monotonic() > deadline:
            raise UnavailableError(f"{page.url} still moves after {SETTLE_SECONDS:.0f} s.")
        page.wait_for_timeout(PAUSE_MILLISECONDS)
        before, now = now, page.screenshot(clip=clip)
    return now
