from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsim_tasks.vectors.batching import image_batches

Sizes = st.dictionaries(st.text("ab", max_size=6), st.integers(1, 60), max_size=12)


@given(Sizes, st.integers(1, 25))
def test_every_image_is_in_one_batch_with_its_file_and_no_batch_exceeds_the_limit(
    sizes: dict[str, int], limit: int
) -> None:
    places = {
        file: pa.array([f"{file} {n}" for n in range(size)], pa.string()) for file, size in sizes.items()
    }
    made = list(image_batches(places, limit))
    assert [name for chunk in made for name in chunk.images.to_pylist()] == [
        name for names in places.values() for name in names.to_pylist()
    ]
    for chunk in made:
        assert 0 < len(chunk.images) <= limit
        assert set(chunk.files) == {name.rpartition(" ")[0] for name in chunk.images.to_pylist()}


def test_small_files_share_a_batch_and_no_images_make_no_batch() -> None:
    sizes = {file: pa.array([file] * count) for file, count in {"a": 3, "b": 2, "c": 5}.items()}
    assert [chunk.files for chunk in image_batches(sizes, 5)] == [("a", "b"), ("c",)]
    assert list(image_batches({}, 5)) == []
