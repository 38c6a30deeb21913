from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.learning.preprocessing import (
    Preprocessing,
    decode,
    decode_all,
    decode_query,
    decode_readable,
)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_an_image_of_the_right_size_comes_through_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    assert np.array_equal(decode(encoded(Image.fromarray(pixels)), Preprocessing(28, 1))[..., 0], pixels)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_the_networks_channels(mode: str, channels: int) -> None:
    decoded = decode(encoded(Image.new(mode, (20, 20))), Preprocessing(16, channels))
    assert decoded.shape == (16, 16, channels)
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (17, 31), (640, 480)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_size_and_format_becomes_the_networks_size(size: tuple[int, int], kind: str) -> None:
    assert decode(encoded(Image.new("RGB", size, (200, 30, 30)), kind), Preprocessing(32, 3)).shape == (
        32,
        32,
        3,
    )


def test_a_tall_product_keeps_its_proportions_on_its_own_background() -> None:
    image = Image.new("L", (10, 40), 250)
    image.paste(0, (0, 18, 10, 22))
    decoded = decode(encoded(image), Preprocessing(40, 1))[..., 0]
    assert (decoded[:, :15] == 250).all()
    assert (decoded[19:21, 15:25] == 0).all()


def test_many_images_stack_in_order() -> None:
    images = [encoded(Image.new("L", (16, 16), shade)) for shade in (0, 100, 255)]
    assert decode_all(images, Preprocessing(16, 1))[:, 0, 0, 0].tolist() == [0, 100, 255]
    assert decode_all([], Preprocessing(16, 1)).shape == (0, 16, 16, 1)


def test_a_query_decoded_at_a_fraction_looks_the_same_to_the_network() -> None:
    shapes = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    photo = encoded(Image.fromarray(shapes).resize((2_400, 1_800), Image.Resampling.BICUBIC), "JPEG")
    whole, fraction = (
        read(photo, Preprocessing(64, 3), 16_000_000).astype(int) for read in (decode, decode_query)
    )
    assert not np.array_equal(whole, fraction)
    assert np.abs(whole - fraction).mean() < 2
    assert np.abs(whole - fraction).max() <= 16


PEAK = """
import sys
from pathlib import Path
from recsim_tasks.learning.preprocessing import Preprocessing, decode, decode_query
small, large = (Path(name).read_bytes() for name in sys.argv[1:3])
take = {"decode": decode, "decode_query": decode_query}[sys.argv[3]]
take(small, Preprocessing(64, 3), 60_000_000)
def peak(): return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak()
take(large, Preprocessing(64, 3), 60_000_000)
print((peak() - before) // 1024)
"""


def test_a_large_query_takes_little_memory(tmp_path: Path) -> None:
    for name, size in (("small", (64, 64)), ("large", (8_000, 6_000))):
        tmp_path.joinpath(name).write_bytes(encoded(Image.new("RGB", size, (200, 30, 30)), "JPEG"))

    def mebibytes(take: str) -> int:
        command = [sys.executable, "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large"), take]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert mebibytes("decode") > 150
    assert mebibytes("decode_query") < 30


def test_unreadable_images_are_left_out_and_the_others_keep_their_rows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = [encoded(Image.new("L", (16, 16), shade)) for shade in (7, 9)]
    decoded, readable = decode_readable([good[0], b"<html>", None, good[1]], Preprocessing(16, 1))
    assert (readable.tolist(), decoded[:, 0, 0, 0].tolist()) == ([True, False, False, True], [7, 0, 0, 9])
    assert len(caplog.messages) == 2


def test_bytes_that_are_no_image_are_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="does not decode"):
        decode(b"<html>not found</html>", Preprocessing(16, 1))
    with pytest.raises(InputError, match="pixels"):
        decode(encoded(Image.new("L", (100, 100))), Preprocessing(16, 1), max_pixels=9_999)
