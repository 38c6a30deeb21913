"""What shops do to one image before it is delivered again, and what makes another product of it."""

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
    """Name the changes after which the image is a copy."""
    half = partial(scaled, factor=0.5, by=Filter.BICUBIC)
    return {
        "PNG": partial(packed, kind="PNG"),
        **{
            f"JPEG, quality {quality}": partial(packed, kind="JPEG", quality=quality)
            for quality in (95, 75, 50, 30)
        },
        "WebP, quality 80": partial(packed, kind="WEBP", quality=80),
        **{
            f"half the size, {by.name.lower()}": partial(scaled, factor=0.5, by=by)
            for by in (Filter.BICUBIC, Filter.LANCZOS)
        },
        **{
            f"half the size, {by.name.lower()}": partial(scaled, factor=0.5, by=by)
            for by in (Filter.BOX, Filter.BILINEAR)
        },
        "half the size, JPEG 75": lambda image: packed(half(image), "JPEG", 75),
        "a third of the size": partial(scaled, factor=1 / 3, by=Filter.LANCZOS),
        "twice the size": partial(scaled, factor=2, by=Filter.BICUBIC),
        "a border of 2 % more": partial(bordered, share=0.02),
        "2 % cut off at each side": partial(cut, share=0.02),
    }


def others() -> dict[str, Change]:
    """Name the changes after which the image shows another product, or the product otherwise."""
    return {
        "mirrored": ImageOps.mirror,
        "darker by 10 %": lambda image: image.point(lambda value: int(value * 0.9)),
        "darker by 20 %": lambda image: image.point(lambda value: int(value * 0.8)),
    }


def packed(image: Image.Image, kind: str, quality: int = 75) -> Image.Image:
    """Store the image in this format and read it again."""
    file = io.BytesIO()
    image.save(file, kind, quality=quality)
    return open_image(file.getvalue(), MAX_IMAGE_PIXELS).convert(image.mode)


def scaled(image: Image.Image, factor: float, by: Filter) -> Image.Image:
    """Resize the image to sides of `factor` times the length."""
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), by)


def bordered(image: Image.Image, share: float) -> Image.Image:
    """Add background at each side, in the colour of the first pixel."""
    return ImageOps.expand(image, max(1, round(image.width * share)), fill=image.getpixel((0, 0)))  # type: ignore[arg-type]  # a pixel of mode L or RGB


def cut(image: Image.Image, share: float) -> Image.Image:
    """Cut this share off at each side."""
    border = max(1, round(image.width * share))
    return image.crop((border, border, image.width - border, image.height - border))


def in_colour(folder: Path | None) -> Iterator[Image.Image]:
    """Read the images of a folder; without one, cut tiles of 128 pixels from the photographs that scikit-learn and Matplotlib bring."""
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
