"""A process that appends to an index and publishes it repeatedly until it is killed.

Arguments: CHAMPION WORKSPACE [in-place]. It prints the number of each publication. `in-place` is the control:
it writes the files into the target folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from recsim_tasks.contracts import Cursor
from recsim_tasks.vectors.index import Index
from vectors.reference import ORIGIN, products, unit

STEPS = 1_000
SIZE = 400


def champion() -> Index:
    """The index that is appended to."""
    return Index.build(products([f"p-{n}" for n in range(SIZE)]), unit(SIZE), ORIGIN, SIZE * 10)


def append(index: Index, step: int) -> None:
    """The changes of one step: always the same number, each time of other products."""
    names = [f"p-{n}" for n in (SIZE + step, step % SIZE, (step * 7) % SIZE)]
    names = list(dict.fromkeys(names))
    index.upsert(products(names, price=float(step)), unit(len(names), seed=step))
    index.remove([f"p-{(step * 13 + 1) % SIZE}"])
    index.advance(Cursor(ORIGIN.cursor.table_id, step))


def contents(index: Index) -> dict[str, tuple[object, ...]]:
    """Every product with all its fields and its vector."""
    ids, vectors = index.all_vectors()
    fields = index.products.drop_columns(["row_key"]).to_pylist()
    return {
        name: (*row.values(), vector.tobytes())
        for name, row, vector in zip(ids, fields, vectors, strict=True)
    }


@contextmanager
def in_place(target: Path) -> Iterator[Path]:
    """The control: publish without staging."""
    target.mkdir(parents=True, exist_ok=True)
    yield target


def main(source: Path, workspace: Path, controlled: bool) -> None:
    """Publish until killed."""
    print("ready", flush=True)
    for step in range(1, STEPS):
        index = Index.open(source, writable=True)
        append(index, step)
        with (
            mock.patch("recsim_tasks.vectors.index.publishing", in_place) if controlled else mock.MagicMock()
        ):
            index.save(workspace)
        print(step, flush=True)


if __name__ == "__main__":
    np.random.default_rng(0)
    main(Path(sys.argv[1]), Path(sys.argv[2]), len(sys.argv) > 3)
