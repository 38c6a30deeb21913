"""Separate the image in a JPEG or PNG file from its metadata, so that odd metadata cannot prevent decoding.

Comments, texts, colour profiles, further images of an MPO and further frames of an animation are left out.
Parts that this module does not understand are left to the decoder.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from recsim_tasks.catalogue.images.formats import PNG_SIGNATURE
from recsim_tasks.foundation.errors import InputError

START_OF_SCAN, END_OF_IMAGE, COMMENT, JFIF, EXIF, ADOBE = 0xDA, 0xD9, 0xFE, 0xE0, 0xE1, 0xEE
APPLICATION = range(0xE0, 0xF0)
# The next marker with content: not stray bytes, fill bytes or standalone markers (TEM, RSTn, SOI).
MARKER = re.compile(rb"\xff[^\xff\x01\xd0-\xd8]")
# A file of millions of them would keep the decoder busy for minutes.
MAX_PARTS = 200_000
# A scan costs as much as a whole image: a progressive JPEG has about ten.
MAX_SCANS = 100
# The colour type of a PNG file, and the valid lengths of its tRNS chunk for grey, colour and palette.
COLOUR_TYPE = slice(25, 26)
TRANSPARENCY_LENGTHS = {b"\0": range(2, 3), b"\2": range(6, 7), b"\3": range(1, 257)}
EXIF_MARK = b"Exif\0\0"
ORIENTATION = 0x0112
# TIFF types SHORT and LONG: the format of the value in the entry's last four bytes.
INTEGERS = {3: "H", 4: "I"}


class Separated(NamedTuple):
    """A file reduced to its image, and its EXIF block, which is empty if there is none."""

    data: bytes
    exif: bytes


def separate_jpeg(data: bytes, max_parts: int = MAX_PARTS) -> Separated:
    """Leave out comments and application segments, except those that define the colours."""
    kept, exif, at = [data[:2]], b"", 2
    for _ in range(max_parts):
        start = MARKER.search(data, at)
        if start is None:
            return Separated(b"".join(kept), exif)
        at, marker = start.end() - 2, data[start.end() - 1]
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0, START_OF_SCAN, END_OF_IMAGE) or length < 2:
            _check_scans(data, at)
            return Separated(b"".join([*kept, data[at:]]), exif)
        segment = data[at : at + 2 + length]
        if marker == EXIF and not exif and segment[4:].startswith(EXIF_MARK):
            exif = segment[4:]
        if _defines_colours(marker, segment) if marker in APPLICATION else marker != COMMENT:
            kept.append(segment)
        at += 2 + length
    raise _too_many(max_parts)


def separate_png(data: bytes, max_parts: int = MAX_PARTS) -> Separated:
    """Leave out chunks that neither the first image nor its transparency needs."""
    kept, exif, at = [PNG_SIGNATURE], b"", len(PNG_SIGNATURE)
    for _ in range(max_parts):
        if at + 12 > len(data):
            return Separated(b"".join([*kept, data[at:]]), exif)
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or not name.isalpha():
            rest = b"" if name.isalpha() and name[:1].islower() else data[at:]
            return Separated(b"".join([*kept, rest]), exif)
        if name[:1].isupper() or (
            name == b"tRNS" and _is_transparency(data[COLOUR_TYPE], data[at + 8 : end])
        ):
            kept.append(data[at:end])
        elif name == b"eXIf" and not exif:
            exif = data[at + 8 : end - 4]
        at = end
        if name == b"IEND":
            return Separated(b"".join(kept), exif)
    raise _too_many(max_parts)


def webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a WebP file or its canvas (RFC 9649, section 2.7); zeros for others."""
    chunk, body = data[12:16], data[20:30]
    if data[:4] != b"RIFF" or len(body) < 10:
        return 0, 0
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", body, 6)
    return (width & 0x3FFF, height & 0x3FFF) if chunk == b"VP8 " else (0, 0)


def _check_scans(data: bytes, start: int) -> None:
    """Count start-of-scan markers; within a scan, 0xFF is never followed by a marker's byte."""
    scans = data.count(bytes((0xFF, START_OF_SCAN)), start)
    if scans > MAX_SCANS:
        raise InputError(
            f"the image has {scans:,} scans, more than the {MAX_SCANS} allowed. Save it again in an image "
            "editor."
        )


def _too_many(max_parts: int) -> InputError:
    return InputError(
        f"the image has more than {max_parts:,} segments or chunks. Save it again in an image editor."
    )


def _is_transparency(colour_type: bytes, chunk: bytes) -> bool:
    """Return whether a tRNS chunk is intact and fits the colour type; libpng ignores others."""
    body, checksum = chunk[:-4], chunk[-4:]
    whole = zlib.crc32(body, zlib.crc32(b"tRNS")) == int.from_bytes(checksum, "big")
    return whole and len(body) in TRANSPARENCY_LENGTHS.get(colour_type, ())


def orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; 1 if it has none."""
    exif = exif.removeprefix(EXIF_MARK).removeprefix(EXIF_MARK)  # some programs write the prefix twice
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(entries):
            tag, kind, count = struct.unpack_from(f"{order}HHI", exif, start + 2 + 12 * entry)
            if tag == ORIENTATION and kind in INTEGERS and count == 1:
                (value,) = struct.unpack_from(f"{order}{INTEGERS[kind]}", exif, start + 10 + 12 * entry)
                return value if 1 <= value <= 8 else 1
    except struct.error:  # the block is shorter than its directory
        return 1
    return 1


def _defines_colours(marker: int, segment: bytes) -> bool:
    """Return whether libjpeg uses this segment to interpret colours (jdmarker.c)."""
    if marker == JFIF:
        return segment[4:9] == b"JFIF\0" and len(segment) >= 18
    return marker == ADOBE and segment[4:9] == b"Adobe" and len(segment) >= 16
