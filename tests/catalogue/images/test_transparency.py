from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from catalogue.image_files import chunk, encoded, product, raw_png, with_chunks
from recsim_tasks.arrays import AnyArray, Int64Array, UInt8Array
from recsim_tasks.catalogue.feeds.rows import TEXT_COLUMNS, parse_row
from recsim_tasks.catalogue.images.decode import Decoded, Limits, read_image, small_jpeg
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.preprocessing import Preprocessing, decode, decode_all
from recsim_tasks.shop.components import preview

GREY, COLOUR, PALETTE = 0, 2, 3
OPAQUE = np.full((8, 12), 255, np.uint8)


def cut_out(hidden: int = 0, opacity: int = 255) -> Image.Image:
    """The block of `product` alone; where there was white, all is transparent, with a `hidden` colour."""
    pixels = np.array(product())
    background = (pixels == 255).all(axis=-1)
    pixels[background] = hidden
    return Image.fromarray(np.dstack([pixels, np.where(background, 0, opacity).astype(np.uint8)]))


def opened(data: bytes) -> Decoded:
    return read_image(data, Limits(10_000))


def shades(bits: int) -> Int64Array:
    """A checkerboard of two greys, in samples of that many bits."""
    checkerboard: Int64Array = np.indices((4, 6)).sum(axis=0) % 2
    return checkerboard[..., None] * ((1 << bits) - 1)


def pixels(image: Image.Image | None) -> AnyArray:
    assert image is not None
    return np.asarray(image)


def test_a_cut_out_is_composited_on_white() -> None:
    for kind, options in (
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"lossless": True, "exact": True}),
    ):
        image = opened(encoded(cut_out(), kind, **options)).image
        assert np.array_equal(pixels(image), pixels(product())), (kind, options)


def test_half_transparent_is_half_white() -> None:
    assert opened(encoded(Image.new("LA", (3, 3), (0, 128)))).image.getpixel((0, 0)) == 127
    assert opened(encoded(Image.new("RGBA", (3, 3), (0, 255, 100, 51)))).image.getpixel((0, 0)) == (
        204,
        255,
        224,
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("named", [0, 1])
def test_a_transparent_grey_becomes_white(bits: int, named: int) -> None:
    key = named * ((1 << bits) - 1)
    image, alpha = opened(raw_png(shades(bits), bits, GREY, key.to_bytes(2, "big")))
    assert np.array_equal(pixels(alpha), np.where(shades(bits)[..., 0] == key, 0, 255))
    assert set(np.unique(pixels(image))) == ({255} if named == 0 else {0, 255})


@pytest.mark.parametrize("bits", [8, 16])
def test_only_the_transparent_colour_becomes_white(bits: int) -> None:
    samples = np.array([[[7, 8, 9], [7, 8, 10], [7, 7, 9], [8, 8, 9]]], np.uint16)
    samples[..., 0] += 0x1200 * (bits == 16)
    image, alpha = opened(raw_png(samples, bits, COLOUR, samples[0, 0].astype(">u2").tobytes()))
    assert np.asarray(alpha).tolist() == [[0, 255, 255, 255]]
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 0)) == ((0x12, 0, 0) if bits == 16 else (7, 8, 10))


@pytest.mark.parametrize(
    ("transparent", "seen"),
    [(b"\xff\0", [10, 255, 30]), (b"\0\xff\x80", [255, 20, 142]), (b"\0\0\0", [255] * 3)],
)
def test_a_palette_may_be_transparent(transparent: bytes, seen: list[int]) -> None:
    palette = bytes([10, 10, 10, 20, 20, 20, 30, 30, 30])
    for bits in (2, 4, 8):
        image, alpha = opened(raw_png(np.array([[[0], [1], [2]]]), bits, PALETTE, transparent, palette))
        assert np.asarray(image)[0, :, 0].tolist() == seen
        assert alpha is not None


@pytest.mark.parametrize(
    "broken",
    [
        chunk(b"tRNS", b""),
        chunk(b"tRNS", b"\0"),
        chunk(b"tRNS", bytes(300)),
        chunk(b"tRNS", b"\0\0", checksum=1),
    ],
)
def test_a_broken_transparency_leaves_the_image_opaque(broken: bytes) -> None:
    for image in (product().convert("L"), product(), product().quantize(8)):
        plain = encoded(image)
        if image.mode != "P" or len(broken) != 13:
            assert opened(with_chunks(plain, broken)).digest == opened(plain).digest


def test_sixteen_bit_images_with_opacity_are_composited_on_white() -> None:
    for colour, channels in ((4, 1), (6, 3)):
        samples = np.full((2, 2, channels + 1), 0x1000, np.uint16)
        samples[0, 0, -1], samples[1, 1, -1] = 0, 0xFFFF
        image, alpha = opened(raw_png(samples, 16, colour))
        assert np.asarray(alpha).tolist() == [[0, 0x10], [0x10, 255]]
        assert (np.asarray(image.convert("L"))[[0, 1], [0, 1]].tolist()) == [255, 0x10]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_composited_on_white(kind: str) -> None:
    animation = encoded(
        cut_out(), kind, save_all=True, append_images=[Image.new("RGBA", (12, 8), "red")], lossless=True
    )
    assert np.array_equal(pixels(opened(animation).image), pixels(product()))


def test_transparency_is_rotated_with_its_image() -> None:
    turn = Image.Exif()
    turn[0x0112] = 6
    image, alpha = opened(encoded(cut_out(), exif=turn))
    upright = cut_out().transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(pixels(alpha), pixels(upright.getchannel("A")))
    assert np.array_equal(pixels(image), pixels(product().transpose(Image.Transpose.ROTATE_270)))


def test_colours_of_fully_transparent_pixels_do_not_change_the_hash() -> None:
    assert opened(encoded(cut_out(hidden=0))).digest == opened(encoded(cut_out(hidden=77))).digest


def test_opacity_changes_the_hash() -> None:
    seen = opened(encoded(cut_out()))
    others = [
        encoded(cut_out(opacity=200)),
        encoded(product()),
        encoded(Image.merge("RGBA", [*cut_out().split()[:3], Image.new("L", (12, 8), 9)])),
    ]
    assert len({seen.digest, *(opened(other).digest for other in others)}) == 4
    everywhere = opened(encoded(product().convert("RGBA")))
    assert everywhere.alpha is None
    assert everywhere.digest == opened(encoded(product())).digest


def test_a_cut_out_has_one_hash_in_every_encoding() -> None:
    few = Image.fromarray(np.dstack([np.full((8, 12, 3), 60, np.uint8), np.array(cut_out())[..., 3]]))
    packed = [
        encoded(few),
        encoded(few, compress_level=0),
        encoded(few, "WEBP", lossless=True),
        encoded(few.quantize(2)),
    ]
    assert len({opened(data).digest for data in packed}) == 1


def seen_by(data: bytes, way: str) -> UInt8Array:
    """What a part of the product sees of the image's first pixel."""
    preprocessing = Preprocessing(32, 3)
    if way == "query":
        return decode(data, preprocessing)
    if way == "training and embedding":
        images = decode_all([data], preprocessing)
        return np.asarray(images[0])
    jpeg = small_jpeg(data, 32) if way == "thumbnail" else preview(data, 32)
    assert jpeg is not None
    return np.asarray(Image.open(io.BytesIO(jpeg)))


@pytest.mark.parametrize("way", ["query", "training and embedding", "thumbnail", "visitor's photo"])
def test_a_cut_out_looks_the_same_in_every_encoding(way: str) -> None:
    assert np.array_equal(seen_by(encoded(cut_out()), way), seen_by(encoded(product()), way))


def quarantine_reason(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse_row(dict.fromkeys(TEXT_COLUMNS) | {"product_id": "p"}, data, 10_000)
    return str(caught.value)


def test_an_image_that_shows_nothing_on_white_is_a_placeholder() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (8, 12, 3), np.uint8)
    assert (
        quarantine_reason(encoded(Image.fromarray(np.dstack([noise, OPAQUE * 0]))))
        == "the image is a placeholder: it is fully transparent"
    )
    white = Image.fromarray(np.dstack([OPAQUE, OPAQUE, OPAQUE, np.array(cut_out())[..., 3]]))
    assert "all pixels have one colour on white" in quarantine_reason(encoded(white))


def test_a_shape_that_exists_only_in_the_opacity_is_accepted() -> None:
    black = Image.merge("LA", [Image.new("L", (12, 8)), cut_out().getchannel("A")])
    row = parse_row(dict.fromkeys(TEXT_COLUMNS) | {"product_id": "p"}, encoded(black), 10_000)
    assert row.image_hash == opened(encoded(black)).digest
