"""Changes that make a copy of an image, and changes that make it another image."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps

from recsim_tasks.catalogue.images.decode import open_image
from recsim_tasks.foundation.limits import MAX_IMAGE_PIXELS

Change = Callable[[Image.Image], Image.Image]
Filter = Image.Resampling
TILE = 128


def copies() -> dict[str, Change]:
    """Return the changes after which an image is a copy."""
    half = partial(scaled, factor=0.5, by=Filter.BICUBIC)
    return {
        "PNG": partial(reencoded, kind="PNG"),
        **{
            f"JPEG, quality {quality}": partial(reencoded, kind="JPEG", quality=quality)
            for quality in (95, 75, 50, 30)
        },
        "WebP, quality 80": partial(reencoded, kind="WEBP", quality=80),
        **{
            f"half the size, {by.name.lower()}": partial(scaled, factor=0.5, by=by)
            for by in (Filter.BICUBIC, Filter.LANCZOS, Filter.BOX, Filter.BILINEAR)
        },
        "half the size, JPEG 75": lambda image: reencoded(half(image), "JPEG", 75),
        "a third of the size": partial(scaled, factor=1 / 3, by=Filter.LANCZOS),
        "twice the size": partial(scaled, factor=2, by=Filter.BICUBIC),
        "a border of 2% more": partial(bordered, share=0.02),
        "2% cropped off at each side": partial(cropped, share=0.02),
    }


def others() -> dict[str, Change]:
    """Return the changes after which an image is no copy."""
    return {
        "mirrored": ImageOps.mirror,
        "darker by 10%": lambda image: image.point(lambda value: int(value * 0.9)),
        "darker by 20%": lambda image: image.point(lambda value: int(value * 0.8)),
    }


def reencoded(image: Image.Image, kind: str, quality: int = 75) -> Image.Image:
    """Encode the image in this format, and decode it."""
    file = io.BytesIO()
    image.save(file, kind, quality=quality)
    return open_image(file.getvalue(), MAX_IMAGE_PIXELS).convert(image.mode)


def scaled(image: Image.Image, factor: float, by: Filter) -> Image.Image:
    """Scale the sides of the image by `factor`."""
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), by)


def bordered(image: Image.Image, share: float) -> Image.Image:
    """Add background at each side, in the colour of the first pixel."""
    return ImageOps.expand(image, max(1, round(image.width * share)), fill=image.getpixel((0, 0)))  # type: ignore[arg-type]


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Crop this share at each side."""
    border = max(1, round(image.width * share))
    return image.crop((border, border, image.width - border, image.height - border))


def in_colour(folder: Path | None) -> Iterator[Image.Image]:
    """Read the images of a folder.

    Without a folder: tiles of 128 pixels from the photographs in scikit-learn and Matplotlib.
    """
    if folder is not None:
        paths = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"}
        )
        yield from (open_image(path.read_bytes(), MAX_IMAGE_PIXELS) for path in paths)
        return
    import matplotlib
    import sklearn  # type: ignore[import-untyped]

    photographs = [
        Path(sklearn.__file__).parent / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")
    ]
    photographs.append(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    for photograph in photographs:
        image = open_image(photograph.read_bytes(), MAX_IMAGE_PIXELS)
        for top in range(0, image.height - TILE + 1, TILE):
            yield from (
                image.crop((left, top, left + TILE, top + TILE))
                for left in range(0, image.width - TILE + 1, TILE)
            )
