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
from PIL import Image, UnidentifiedImageError

from catalogue.image_files import chunk, segment, with_chunks, with_segments
from recsim_tasks.catalogue.images import decode
from recsim_tasks.catalogue.images.decode import (
    Limits,
    image_hash,
    is_single_colour,
    open_image,
    open_query,
    read_image,
)
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


def test_lossless_re_encoding_keeps_the_hash() -> None:
    image = Image.fromarray(PIXELS)
    small, large = (open_image(encoded(image, "PNG", compress_level=level), 100) for level in (9, 0))
    assert image_hash(small) == image_hash(large)


def test_other_pixels_shape_or_mode_change_the_hash() -> None:
    images = [PIXELS, PIXELS + 1, PIXELS.reshape(4, 16), np.stack([PIXELS] * 3, axis=-1)]
    assert len({image_hash(Image.fromarray(np.ascontiguousarray(p))) for p in images}) == len(images)


GREY = np.add.outer(np.arange(8), np.arange(8) * 8).astype(np.uint8)
COLOUR = np.dstack([GREY, GREY + 60, 255 - GREY])
OPAQUE = np.full((8, 8), 255, np.uint8)
GREY_DIGEST = "c999244ed652cf9f284964dd6402f7d6d0990956631a8f9b7e709af72677a8cf"
COLOUR_DIGEST = "8889c2576f47ebd7a818d0674d7e579cc5845790224f266819c24929ee7dcc15"
DIGESTS = [
    ("PNG", Image.fromarray(GREY), GREY_DIGEST),
    ("PNG", Image.fromarray(GREY.astype(np.uint16) * 257), GREY_DIGEST),
    ("PNG", Image.fromarray(np.dstack([GREY, OPAQUE])), GREY_DIGEST),
    ("PNG", Image.fromarray(GREY > 30), "b1bf030a90820f66d9fc2d628c1e5358add64754652872dfef0e215d16dc4fc6"),
    ("PNG", Image.fromarray(COLOUR), COLOUR_DIGEST),
    ("PNG", Image.fromarray(np.dstack([COLOUR, OPAQUE])), COLOUR_DIGEST),
    ("WEBP", Image.fromarray(COLOUR), COLOUR_DIGEST),
]


@pytest.mark.parametrize(("kind", "image", "digest"), DIGESTS)
def test_the_hash_of_an_opaque_image_never_changes(kind: str, image: Image.Image, digest: str) -> None:
    assert read_image(encoded(image, kind, lossless=True), Limits(100)).digest == digest


def test_an_image_is_rotated_by_its_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(encoded(Image.new("RGB", (5, 3)), "JPEG", exif=exif), 100).size == (3, 5)


def whole() -> bytes:
    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)), "PNG")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        whole()[:200],
        encoded(Image.new("RGB", (4, 4)), "GIF"),
        encoded(Image.new("RGB", (4, 4)), "BMP"),
    ],
)
def test_other_formats_and_truncated_images_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        open_image(data, max_pixels=10_000)


@pytest.mark.parametrize(
    "data", [b"<html>", whole()[:200], whole()[:30], b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 "]
)
def test_the_same_bytes_always_give_the_same_error(data: bytes) -> None:
    messages = set()
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            open_image(data, max_pixels=10_000)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert " at 0x" not in messages.pop()


RAISED = [
    AssertionError(),
    AttributeError("x"),
    EOFError(),
    IndexError("x"),
    KeyError(274),
    MemoryError(),
    OverflowError("x"),
    RecursionError("x"),
    RuntimeError("x"),
    struct.error("x"),
    TypeError("x"),
    UnicodeDecodeError("ascii", b"x", 0, 1, "x"),
    ZeroDivisionError(),
    zlib.error("x"),
    UnidentifiedImageError("cannot identify <_io.BytesIO object at 0x7f00>"),
    Image.DecompressionBombError("x"),
    Exception("two\nlines"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_any_exception_of_a_decoder_becomes_the_reason(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setitem(decode.DECODERS, "PNG", fail)
    with pytest.raises(InputError, match=r"^the image does not decode as PNG: .+") as caught:
        open_image(whole(), 10_000)
    assert "0x7f00" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupt_while_decoding_is_not_caught(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setitem(decode.DECODERS, "PNG", fail)
    with pytest.raises(type(error)):
        open_image(whole(), 10_000)


def test_an_image_over_the_pixel_limit_is_refused_by_its_header() -> None:
    bomb = encoded(Image.new("1", (8_000, 8_000)), "PNG")
    with pytest.raises(InputError, match="64,000,000 pixels"):
        open_image(bomb, max_pixels=1_000_000)


CANVAS = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff\x3f\0" * 2
LOSSLESS = b"VP8L" + struct.pack("<I", 10) + b"\x2f" + struct.pack("<I", 0x3FFF | 0x3FFF << 14) + bytes(5)
LOSSY = b"VP8 " + struct.pack("<I", 10) + b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x3FFF, 0x3FFF)


@pytest.mark.parametrize(
    ("chunk", "pixels"), [(CANVAS, "268,435,456"), (LOSSLESS, "268,435,456"), (LOSSY, "268,402,689")]
)
def test_a_webp_over_the_pixel_limit_is_refused_before_it_is_opened(
    chunk: bytes, pixels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening it takes eight bytes a pixel of an animation's canvas."""
    monkeypatch.delitem(decode.DECODERS, "WEBP")
    with pytest.raises(InputError, match=f"{pixels} pixels, more than the 1,000,000 allowed"):
        open_image(b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk, max_pixels=1_000_000)


def test_a_jpeg_with_too_many_scans_is_refused() -> None:
    progressive = encoded(Image.fromarray(PIXELS), "JPEG", progressive=True)
    assert open_image(progressive, 100).size == (8, 8)
    at = progressive.rindex(b"\xff\xda")
    with pytest.raises(InputError, match=r"has 10[0-9] scans, more than the 100 allowed"):
        open_image(progressive[:at] + progressive[at:-2] * 100 + progressive[-2:], 100)


def noise(width: int, height: int) -> Image.Image:
    """Few colours, so that it is small as a file."""
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 2, (height // 100, width // 100, 3), np.uint8) * 200
    ).resize((width, height))


def test_a_large_jpeg_query_is_decoded_at_a_fraction_of_its_size() -> None:
    phone = encoded(noise(8_000, 6_000), "JPEG", quality=60)
    assert open_query(phone, 16_000_000, side=128).size == (1_000, 750)
    assert open_query(phone, 16_000_000, side=1_500).size == (2_000, 1_500)
    assert open_query(phone, 16_000_000, side=1_501).size == (4_000, 3_000)
    assert open_image(phone, 48_000_000).size == (8_000, 6_000)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {"compress_level": 1}), ("WEBP", {"method": 0}), ("JPEG", {"progressive": True, "quality": 60})],
)
def test_a_large_query_that_cannot_be_decoded_smaller_is_refused(
    kind: str, options: dict[str, object]
) -> None:
    with pytest.raises(
        InputError, match=r"17,000,000 pixels, more than the 16,000,000 allowed \(RECSIM_SERVING_MAX_PIXELS\)"
    ):
        open_query(encoded(noise(5_000, 3_400), kind, **options), 16_000_000, side=128)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_query_image_may_have_few_parts_only(kind: str) -> None:
    whole = encoded(Image.fromarray(PIXELS), kind)
    text = chunk(b"tEXt", b"name\0text") if kind == "PNG" else segment(0xFE, b"text")
    many = with_chunks(whole, text * 10_000) if kind == "PNG" else with_segments(whole, text * 10_000)
    assert open_image(many, 100).size == (8, 8)
    with pytest.raises(InputError, match="more than 10,000 segments or chunks"):
        open_query(many, 100, side=128)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_compressed_text_in_an_image_is_never_decompressed(kind: bytes) -> None:
    text = kind + b"name\0\0" + zlib.compress(bytes(32 << 20))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    header, rest = whole()[:33], whole()[33:]
    tracemalloc.start()
    opened = open_image(header + chunk + rest, max_pixels=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image_hash(opened) == image_hash(open_image(whole(), 10_000))
    assert peak < 8 << 20


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    shades = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    opened = open_image(encoded(Image.fromarray(shades), "PNG"), 100)
    assert np.array_equal(np.asarray(opened), (shades >> 8).astype(np.uint8))


def test_the_first_of_several_frames_is_decoded() -> None:
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS + 1)
    for kind in ("PNG", "WEBP"):
        animated = open_image(encoded(first, kind, save_all=True, append_images=[second], lossless=True), 100)
        assert image_hash(animated.convert("L")) == image_hash(first)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_single_colour_is_recognised(mode: str) -> None:
    image = Image.new(mode, (4, 4), 7 if mode == "L" else (7, 8, 9))
    assert is_single_colour(image)
    image.putpixel((1, 1), 8 if mode == "L" else (7, 8, 8))
    assert not is_single_colour(image)


@limits(max_examples=500, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0, 1),
)
def test_a_damaged_file_is_decoded_or_refused(kind: str, flips: list[tuple[float, int]], cut: float) -> None:
    data = bytearray(encoded(Image.fromarray(PIXELS), kind))
    for place, byte in flips:
        data[int(place * len(data))] = byte
    try:
        assert open_image(bytes(data[: round(cut * len(data))]), 10_000).mode in ("L", "RGB")
    except InputError:
        return
