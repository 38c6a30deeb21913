from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from PIL import Image

from recsim_tasks.catalogue.images import image_hash, is_one_colour, open_image
from recsim_tasks.foundation.errors import InputError

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "1", "I;16", "RGB", "RGBA", "P", "LA"])
def test_png_of_any_mode_opens_as_grey_or_colour(mode: str) -> None:
    opened = open_image(encoded(Image.new(mode, (5, 3)), "PNG"), max_pixels=100)
    assert (opened.mode in ("L", "RGB"), opened.size) == (True, (5, 3))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_three_formats_open(kind: str) -> None:
    assert open_image(encoded(Image.new("RGB", (5, 3)), kind), max_pixels=100).size == (5, 3)


def test_a_picture_packed_anew_keeps_its_hash() -> None:
    image = Image.fromarray(PIXELS)
    small, large = (open_image(encoded(image, "PNG", compress_level=level), 100) for level in (9, 0))
    assert image_hash(small) == image_hash(large)


def test_another_picture_shape_or_mode_has_another_hash() -> None:
    pictures = [PIXELS, PIXELS + 1, PIXELS.reshape(4, 16), np.stack([PIXELS] * 3, axis=-1)]
    assert len({image_hash(Image.fromarray(np.ascontiguousarray(p))) for p in pictures}) == len(pictures)


def test_a_picture_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(encoded(Image.new("RGB", (5, 3)), "JPEG", exif=exif), 100).size == (3, 5)


def whole() -> bytes:
    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)), "PNG")


@pytest.mark.parametrize(
    "data", [b"", b"<html>", whole()[:200], encoded(Image.new("RGB", (4, 4)), "GIF"), encoded(Image.new("RGB", (4, 4)), "BMP")]
)
def test_what_is_no_whole_picture_of_the_three_formats_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        open_image(data, max_pixels=10_000)


def test_the_same_bytes_are_refused_with_the_same_words_each_time() -> None:
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            open_image(b"<html>", max_pixels=100)
        assert str(caught.value) == "the image does not decode as JPEG, PNG, WEBP: its bytes begin like none of them"


def test_a_picture_beyond_the_pixel_limit_is_refused_by_its_header() -> None:
    bomb = encoded(Image.new("1", (8_000, 8_000)), "PNG")
    with pytest.raises(InputError, match="64,000,000 pixels"):
        open_image(bomb, max_pixels=1_000_000)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_small_picture_with_a_huge_text_in_it_is_refused_before_that_is_unpacked(kind: bytes) -> None:
    text = kind + b"name\0\0" + zlib.compress(bytes(32 << 20))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    header, rest = whole()[:33], whole()[33:]
    tracemalloc.start()
    with pytest.raises(InputError, match="too large"):
        open_image(header + chunk + rest, max_pixels=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_grey_of_sixteen_bits_keeps_its_shades() -> None:
    shades = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    opened = open_image(encoded(Image.fromarray(shades), "PNG"), 100)
    assert np.array_equal(np.asarray(opened), (shades >> 8).astype(np.uint8))


def test_of_several_frames_the_first_counts() -> None:
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS + 1)
    for kind in ("PNG", "WEBP"):
        animated = open_image(encoded(first, kind, save_all=True, append_images=[second], lossless=True), 100)
        assert image_hash(animated.convert("L")) == image_hash(first)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_one_colour_is_told_from_two(mode: str) -> None:
    image = Image.new(mode, (4, 4), 7 if mode == "L" else (7, 8, 9))
    assert is_one_colour(image)
    image.putpixel((1, 1), 8 if mode == "L" else (7, 8, 8))
    assert not is_one_colour(image)


@limits(max_examples=500, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0, 1),
)
def test_a_damaged_file_is_a_picture_or_an_answer(kind: str, flips: list[tuple[float, int]], cut: float) -> None:
    data = bytearray(encoded(Image.fromarray(PIXELS), kind))
    for place, byte in flips:
        data[int(place * len(data))] = byte
    try:
        assert open_image(bytes(data[: round(cut * len(data))]), 10_000).mode in ("L", "RGB")
    except InputError:
        return
