from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from PIL import Image, ImageOps

from catalogue.image_files import SIX, chunk, encoded, exif, product, segment, with_chunks, with_segments
from recsim_tasks.catalogue.images.decode import open_image
from recsim_tasks.catalogue.images.metadata import orientation, separate_jpeg, separate_png
from recsim_tasks.foundation.errors import InputError

TEXT, SHORT, LONG = 2, 3, 4
NOWHERE = b"\xff\xff\xff\x7f"
PNG, JPEG = encoded(product()), encoded(product(), "JPEG", quality=95)
TURNED = b"Exif\0\0" + exif([SIX])


def pixels(data: bytes) -> object:
    return np.asarray(open_image(data, 10_000)).tolist()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "form"), [(SHORT, "H"), (LONG, "I")])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_read_in_either_byte_order_and_width(
    order: str, kind: int, form: str, turn: int
) -> None:
    assert (
        orientation(exif([(0x0112, kind, 1, struct.pack(order + form, turn).ljust(4, b"\0"))], order)) == turn
    )


@pytest.mark.parametrize(
    "others",
    [
        [(0x011A, TEXT, 3, b"72\0\0")],
        [(0x010F, TEXT, 4_000_000_000, NOWHERE)],
        [(0x010E, 99, 5, NOWHERE), (0x0001, 0, 0, bytes(4))],
        [(0x8769, LONG, 1, NOWHERE), (0x8825, LONG, 1, NOWHERE)],
        [(0x0110, TEXT, 10, b"\x08\0\0\0")],
    ],
    ids=[
        "resolution as text",
        "endless text",
        "unknown types",
        "directories that are nowhere",
        "text within itself",
    ],
)
def test_orientation_is_read_beside_tags_that_are_wrong(others: list[tuple[int, int, int, bytes]]) -> None:
    assert orientation(exif(sorted([*others, SIX]))) == 6
    assert orientation(exif([*others, SIX])) == 6


def test_orientation_is_read_from_a_block_that_is_truncated_after_it() -> None:
    assert orientation(exif([SIX, (0x011A, 5, 1, NOWHERE)], claimed=60)[:24]) == 6


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II",
        b"Exif\0\0",
        b"MM\0*",
        b"II*\0\xff\xff\xff\xff",
        b"<?xpacket",
        exif([SIX])[:12],
        exif([(0x0112, SHORT, 1, bytes(4))]),
        exif([(0x0112, SHORT, 1, b"\x09\0\0\0")]),
        exif([(0x0112, TEXT, 2, b"6\0\0\0")]),
        exif([(0x0112, SHORT, 3, b"\x06\0\0\0")]),
        exif([], claimed=65_535),
    ],
)
def test_a_block_without_orientation_rotates_nothing(block: bytes) -> None:
    assert orientation(block) == 1


@limits(max_examples=300, deadline=None)
@given(st.binary(max_size=80).map(lambda data: b"II*\0" + data) | st.binary(max_size=80))
def test_any_bytes_give_a_valid_orientation(block: bytes) -> None:
    assert 1 <= orientation(block) <= 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_format_is_rotated_by_its_exif(kind: str, turn: int) -> None:
    block = exif([(0x0112, SHORT, 1, struct.pack("<HH", turn, 0)), (0x011A, TEXT, 3, b"72\0\0")])
    options = {"lossless": True} if kind == "WEBP" else {}
    plain = encoded(product(), kind, **options)
    standard = Image.Exif()
    standard[0x0112] = turn
    reference = Image.open(io.BytesIO(encoded(product(), kind, exif=standard, **options)))
    data = encoded(product(), kind, exif=block if kind == "PNG" else b"Exif\0\0" + block, **options)
    assert pixels(data) == np.asarray(ImageOps.exif_transpose(reference)).tolist()
    assert (pixels(data) == pixels(plain)) is (turn == 1)


ICC = b"ICC_PROFILE\0"
JPEG_METADATA = {
    "a colour profile without its numbers": [segment(0xE2, ICC)],
    "a part of a colour profile": [segment(0xE2, ICC + b"\x02\x09" + bytes(60))],
    "a large colour profile": [segment(0xE2, ICC + bytes([n, 40]) + bytes(60_000)) for n in range(1, 41)],
    "a large XMP": [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<x:xmpmeta " * 5_000)],
    "an XMP that names an orientation": [
        segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>')
    ],
    "thousands of segments": [segment(0xE5 + n % 8, bytes(20)) for n in range(5_000)],
    "a broken JFIF": [segment(0xE0, b"JFIF\0")],
    "a short Adobe": [segment(0xEE, b"Adobe")],
    "broken Photoshop resources": [segment(0xED, b"Photoshop 3.0\0008BIM\x04\xed")],
    "a broken index of an MPO": [segment(0xE2, b"MPF\0MM\0*" + b"\xff" * 30)],
    "an MPO of no images": [segment(0xE2, b"MPF\0" + exif([(0xB001, LONG, 1, b"\x02\0\0\0")]))],
    "a resolution as text": [
        segment(0xE1, b"Exif\0\0" + exif([(0x011A, TEXT, 3, b"72\0\0"), (0x0128, TEXT, 2, b"2\0\0\0")]))
    ],
    "an empty EXIF": [segment(0xE1, b"Exif\0\0")],
    "comments": [segment(0xFE, b"x" * 65_000)] * 3,
    "fill bytes": [b"\xff" * 5_000],
    "stray bytes": [segment(0xFE, b"x"), b"\0stray"],
}


@pytest.mark.parametrize("segments", JPEG_METADATA.values(), ids=list(JPEG_METADATA))
def test_metadata_of_a_jpeg_change_nothing(segments: list[bytes]) -> None:
    assert pixels(with_segments(JPEG, *segments)) == pixels(JPEG)
    turn = segment(0xE1, TURNED)
    assert pixels(with_segments(JPEG, turn, *segments)) == pixels(with_segments(JPEG, turn)) != pixels(JPEG)


def test_the_first_of_two_exif_blocks_is_used() -> None:
    second = segment(0xE1, b"Exif\0\0" + exif([(0x0112, SHORT, 1, b"\x03\0\0\0")]))
    assert pixels(with_segments(JPEG, segment(0xE1, TURNED), second)) == pixels(
        with_segments(JPEG, segment(0xE1, TURNED))
    )


def test_an_mpo_is_decoded_as_its_first_jpeg() -> None:
    further = [Image.new("RGB", (24, 24), "red"), product(seed=1)]
    mpo = encoded(product(), "MPO", save_all=True, append_images=further, quality=95)
    assert pixels(mpo) == pixels(JPEG)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
def test_separating_keeps_the_colours_of_a_jpeg(mode: str) -> None:
    data = encoded(product().convert(mode), "JPEG", comment=b"x", icc_profile=bytes(200))
    reference = Image.open(io.BytesIO(data))
    assert pixels(data) == np.asarray(reference if mode == "L" else reference.convert("RGB")).tolist()
    assert len(separate_jpeg(data).data) < len(data)


def test_unconverted_colours_stay_unconverted() -> None:
    data = encoded(product(), "JPEG", keep_rgb=True)
    assert pixels(data) == np.asarray(Image.open(io.BytesIO(data))).tolist()


PNG_METADATA = {
    "a text that unpacks to megabytes": chunk(b"zTXt", b"name\0\0" + zlib.compress(bytes(4 << 20))),
    "an XMP that unpacks to megabytes": chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * (2 << 20))
    ),
    "a colour profile that unpacks to megabytes": chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(4 << 20))),
    "a broken colour profile": chunk(b"iCCP", b"name"),
    "a text with a wrong checksum": chunk(b"tEXt", b"name\0text", checksum=1),
    "a frame of no animation": chunk(b"fcTL", bytes(26)),
    "a broken animation": chunk(b"acTL", b"\0"),
    "a private chunk": chunk(b"prVt", bytes(100)),
    "a broken EXIF": chunk(b"eXIf", b"II*\0\xff"),
    "an orientation of ImageMagick": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\n0000"),
    "a short pixel size": chunk(b"pHYs", b"\0"),
    "an empty background": chunk(b"bKGD", b""),
}


@pytest.mark.parametrize("extra", PNG_METADATA.values(), ids=list(PNG_METADATA))
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_metadata_of_a_png_change_nothing(extra: bytes, before: bytes) -> None:
    turn = chunk(b"eXIf", exif([SIX]))
    assert pixels(with_chunks(PNG, extra, before=before)) == pixels(PNG)
    if b"eXIf" not in extra:
        assert (
            pixels(with_chunks(PNG, extra, turn, before=before))
            == pixels(with_chunks(PNG, turn))
            != pixels(PNG)
        )


def test_truncated_metadata_after_the_image_change_nothing() -> None:
    assert pixels(with_chunks(PNG, chunk(b"tEXt", bytes(500)), before=b"IEND")[:-300]) == pixels(PNG)


@pytest.mark.parametrize("whole", [PNG, JPEG, encoded(product(), "WEBP")], ids=["PNG", "JPEG", "WEBP"])
def test_a_truncated_image_is_refused(whole: bytes) -> None:
    for share in (0.02, 0.2, 0.5, 0.8):
        with pytest.raises(InputError, match="the image does not decode"):
            open_image(whole[: round(share * len(whole))], 10_000)


def test_a_hundred_thousand_texts_are_skipped_unread() -> None:
    separated = separate_png(with_chunks(PNG, chunk(b"tEXt", b"name\0text") * 100_000))
    assert separated == separate_png(PNG)


@pytest.mark.parametrize(
    "chunks", [chunk(b"tRNS", b""), chunk(b"IEND", b""), b"\0\0\0\0", chunk(b"eXIf", TURNED[:6] * 100_000)]
)
def test_a_png_without_a_header_is_left_to_the_decoder(chunks: bytes) -> None:
    with pytest.raises(InputError, match="does not decode as PNG"):
        open_image(PNG[:8] + chunks, 10_000)


@pytest.mark.parametrize(
    "data",
    [JPEG[:2] + segment(0xFE, b"") * 1_000_000 + JPEG[2:], with_chunks(PNG, chunk(b"tEXt", b"") * 500_000)],
    ids=["JPEG", "PNG"],
)
def test_a_file_with_too_many_parts_is_refused_early(data: bytes) -> None:
    with pytest.raises(InputError, match="more than 200,000 segments or chunks"):
        open_image(data, 10_000)


@pytest.mark.parametrize("noise", [b"\xff", b"\xd0\xff", b"\x01\xff", b"\0"])
def test_noise_before_the_image_is_skipped_quickly(noise: bytes) -> None:
    before = segment(0xFE, b"x") + (b"" if noise == b"\0" else b"\xff") + noise * 4_000_000
    assert pixels(JPEG[:2] + before + JPEG[2 + noise.endswith(b"\xff") :]) == pixels(JPEG)


def test_bytes_after_the_end_change_nothing() -> None:
    assert pixels(PNG + b"<html>") == pixels(PNG)
    assert pixels(JPEG + b"<html>" * 100) == pixels(JPEG)


@limits(max_examples=300, deadline=None)
@given(st.sampled_from([PNG, JPEG]), st.integers(0, 3_000), st.binary(max_size=4), st.integers(0, 3_000))
def test_separating_terminates_on_any_bytes(whole: bytes, at: int, changed: bytes, cut: int) -> None:
    data = (whole[:at] + changed + whole[at + len(changed) :])[: max(cut, 8)]
    for separate in (separate_jpeg, separate_png):
        assert len(separate(data).data) <= len(data) + 8
