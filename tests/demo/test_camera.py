from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops

from recsim_demo import camera
from recsim_demo.camera import around, compress, new_page, take
from recsim_tasks.foundation.errors import UnavailableError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.server
BOX = "<body style='margin:0'><p style='margin:50px;width:100px;height:20px;background:#0f766e'></p>"
GROWING = "<p></p><script>setInterval(() => document.body.append('more '), {})</script>"


def test_a_screenshot_is_cropped_to_what_matters_and_has_twice_the_pixels(
    browser: Browser, tmp_path: Path
) -> None:
    page = new_page(browser, (400, 300))
    page.set_content(BOX)
    path = take(page, tmp_path / "box.png", around(page.locator("p"), margin=10))
    with Image.open(path) as image:
        assert image.size == (240, 80)
        assert image.mode == "P"
        pixels = image.convert("RGB")
        assert pixels.getpixel((120, 40)) == (0x0F, 0x76, 0x6E)
        assert pixels.getpixel((4, 4)) == (255, 255, 255)


def test_a_page_that_still_moves_is_not_taken(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = new_page(browser, (400, 300))
    page.set_content(GROWING.format(50))
    monkeypatch.setattr(camera, "SETTLE_SECONDS", 2.0)
    with pytest.raises(UnavailableError, match="still moves"):
        take(page, tmp_path / "moving.png")
    assert not (tmp_path / "moving.png").exists()


def test_a_page_without_what_is_to_be_shown_is_an_error(browser: Browser) -> None:
    page = new_page(browser, (400, 300))
    page.set_content(BOX)
    with pytest.raises(UnavailableError, match="does not show"):
        around(page.locator("table"))


def test_stored_items_reach_the_page(browser: Browser, tmp_path: Path) -> None:
    page = new_page(browser, (400, 300), storage={"view": '"it\'s a graph"'})
    (tmp_path / "page.html").write_text(BOX)
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("localStorage.getItem('view')") == '"it\'s a graph"'


def test_a_compressed_image_is_smaller_and_looks_the_same(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    draw = random.Random(3)
    image = Image.new("RGB", (64, 64))
    image.putdata([(grey, grey, grey) for grey in (draw.randrange(256) for _ in range(64 * 64))])
    image.save(path)
    size = path.stat().st_size
    compress(path)
    assert path.stat().st_size < size / 2
    with Image.open(path) as reduced:
        difference = ImageChops.difference(image, reduced.convert("RGB"))
    assert max(most for _, most in difference.getextrema()) <= 8  # type: ignore[misc]  # one pair by band
