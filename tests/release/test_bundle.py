from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release import bundle as bundle_module
from recsim_tasks.release.bundle import BundleContents, Release, assemble
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.vectors.filters import Filters
from recsim_tasks.vectors.index import Index
from release.bundles import (
    AT,
    METRICS,
    TRAINING,
    make_bundle,
    make_index,
    make_model,
    png_image,
    products,
    reseal,
)

ALL = Filters()


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_release_finds_each_product_by_its_own_image(bundle: Path) -> None:
    release = Release.open(bundle)
    assert [release.similar(png_image(number), 1, ALL)[0]["product_id"] for number in range(40)] == [
        f"p{n:03d}" for n in range(40)
    ]


def test_an_answer_has_the_products_fields(bundle: Path) -> None:
    product = Release.open(bundle).similar(png_image(4), 1, ALL)[0]
    assert product.pop("score") == pytest.approx(1)
    assert product == {
        "product_id": "p004",
        "title": "Product 4",
        "category": "stripes",
        "price": 14.0,
        "in_stock": True,
    }


def test_more_like_a_product_leaves_the_product_out(bundle: Path) -> None:
    results = Release.open(bundle).more_like("p004", 39, ALL)
    assert len(results) == 39
    assert "p004" not in {row["product_id"] for row in results}


def test_more_like_an_unknown_product_is_refused(bundle: Path) -> None:
    with pytest.raises(InputError, match="'nothing' is not in this release"):
        Release.open(bundle).more_like("nothing", 3, ALL)


def test_filters_hold_for_every_product_of_an_answer(bundle: Path) -> None:
    filters = Filters(categories=("rings",), min_price=15, max_price=35, in_stock=True)
    results = Release.open(bundle).similar(png_image(4), 40, filters)
    expected = {f"p{n:03d}" for n in range(40) if n % 2 and n % 3 and 5 <= n <= 25}
    assert {row["product_id"] for row in results} == expected


def test_distinct_leaves_one_of_the_copies_of_an_image_and_every_other_product(tmp_path: Path) -> None:
    """Ten photographs, each delivered four times, whole and in half the size, as PNG and JPEG.

    And ten products in other colours.

    The encoder sees grey images, so that for it the other colours are the same.
    """
    photographs = [photograph(number) for number in range(10)]
    half = [image.resize((image.width // 2, image.height // 2)) for image in photographs]
    images = [
        encoded(image, kind) for images in (photographs, half) for kind in ("PNG", "JPEG") for image in images
    ]
    images += [encoded(in_other_colours(image), "PNG") for image in photographs]
    table = products(50).set_column(6, "image", pa.array(images, pa.binary()))
    model = make_model(tmp_path / "model")
    index = make_index(tmp_path / "index", model, table)
    assemble(BundleContents(model, index, images[:1], METRICS, TRAINING, AT), tmp_path / "release")
    release = Release.open(tmp_path / "release")
    shown = {f"p{number:03d}": number if number >= 40 else number % 10 for number in range(50)}
    for number in range(10):
        every, distinct = (release.similar(images[number], 50, ALL, wish) for wish in (False, True))
        first = {shown[str(row["product_id"])]: row for row in reversed(every)}
        assert distinct == [row for row in every if row in first.values()]
        assert (len(every), len(distinct)) == (50, 20)


def in_other_colours(image: Image.Image) -> Image.Image:
    luma, blue, red = image.convert("YCbCr").split()
    return Image.merge("YCbCr", (luma, red, blue)).convert("RGB")


def photograph(number: int) -> Image.Image:
    """Twenty discs in colour on white, 240 x 180."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", (240, 180), "white")
    for x, y, size, *colour in rng.integers(
        (0, 0, 12, 0, 0, 0), (220, 160, 80, 255, 255, 255), (20, 6)
    ).tolist():
        ImageDraw.Draw(image).ellipse((x, y, x + size, y + size), tuple(colour))
    return image


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=75)
    return file.getvalue()


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_flipped_byte_in_any_file_is_refused(bundle: Path, place: str) -> None:
    for path in files_of(bundle):
        before = path.read_bytes()
        at = 0 if place == "first" else len(before) - 1
        path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
        with pytest.raises(InputError):
            Release.open(bundle)
        path.write_bytes(before)
    Release.open(bundle)


def test_a_missing_an_added_and_an_exchanged_file_are_refused(bundle: Path) -> None:
    model, index = bundle / "model" / "model.tflite", bundle / "index" / "vectors.faiss"
    (bundle / "model" / "extra.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"model/extra\.bin"):
        Release.open(bundle)
    (bundle / "model" / "extra.bin").unlink()
    model.rename(bundle / "kept")
    with pytest.raises(InputError, match=r"model/model\.tflite"):
        Release.open(bundle)
    index.rename(model)
    (bundle / "kept").rename(index)
    with pytest.raises(InputError, match=r"index/vectors\.faiss, model/model\.tflite"):
        Release.open(bundle)


def test_no_native_library_sees_a_file_whose_digest_is_wrong(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    monkeypatch.setattr(bundle_module, "Embedder", lambda folder: seen.append(folder))
    monkeypatch.setattr(Index, "open", lambda folder: seen.append(folder))
    (bundle / "index" / "vectors.faiss").write_bytes(b"not what it was")
    with pytest.raises(InputError, match=r"index/vectors\.faiss"):
        Release.open(bundle)
    assert seen == []


def test_a_canary_that_disagrees_is_refused(bundle: Path) -> None:
    canaries = Manifest.read(bundle).model_dump()["canaries"]
    canaries[2]["vector"][0] += 2e-4
    reseal(bundle, canaries=canaries)
    with pytest.raises(InputError, match="embeds its canary images differently"):
        Release.open(bundle)


def test_a_canary_within_rounding_is_accepted(bundle: Path) -> None:
    canaries = Manifest.read(bundle).model_dump()["canaries"]
    canaries[2]["vector"][0] += 5e-5
    reseal(bundle, canaries=canaries)
    Release.open(bundle)


def test_another_embedding_size_is_refused(bundle: Path) -> None:
    reseal(bundle, embedding_size=9)
    with pytest.raises(InputError, match="shapes of the model"):
        Release.open(bundle)


def test_an_index_of_another_model_is_refused_though_its_digests_are_right(
    bundle: Path, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "other", seed=1)
    for name in ("vectors.faiss", "items.arrow", "index.json"):
        (bundle / "index" / name).write_bytes((tmp_path / "other" / "index" / name).read_bytes())
    reseal(bundle)
    with pytest.raises(InputError, match="index was built with model"):
        Release.open(bundle)


def test_a_model_and_an_index_that_do_not_match_make_no_bundle(tmp_path: Path) -> None:
    first, second = make_model(tmp_path / "first", 0), make_model(tmp_path / "second", 1)
    index = make_index(tmp_path / "index", first, products(10))
    with pytest.raises(InputError, match="mode rebuild"):
        assemble(BundleContents(second, index, [], METRICS, TRAINING, AT), tmp_path / "release")
    assert not (tmp_path / "release").exists()


def test_the_manifest_names_every_other_file(bundle: Path) -> None:
    files = {path.relative_to(bundle).as_posix() for path in files_of(bundle)}
    assert set(json.loads((bundle / "manifest.json").read_text())["digests"]) == files - {"manifest.json"}


def test_a_bundle_shares_its_parts_files(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    assert (tmp_path / "release" / "model" / "model.tflite").samefile(tmp_path / "model" / "model.tflite")
