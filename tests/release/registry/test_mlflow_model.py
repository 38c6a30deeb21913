"""A registered release as MLflow's own tools see it."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.manifest import Manifest
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.mlflow_model import PACKAGE, needed_modules
from recsim_tasks.release.search_options import SearchOptions
from release.bundles import png_image
from release.registered import register

ROWS = pd.DataFrame({"image": [base64.b64encode(png_image(number)).decode() for number in (5, 8)]})


@pytest.fixture
def model(registry: Registry, read_only_bundle: Path, manifest: Manifest) -> Any:
    """The release as `mlflow.pyfunc` loads it."""
    import mlflow

    register(registry, read_only_bundle, manifest)
    mlflow.set_tracking_uri(registry.settings.tracking_uri)
    return mlflow.pyfunc.load_model("models:/recsim/1")


def test_the_signature_names_inputs_outputs_and_every_wish(model: Any) -> None:
    from mlflow.models import get_model_info

    signature = get_model_info("models:/recsim/1").signature
    assert signature.inputs.input_names() == ["image"]
    assert {spec.name for spec in signature.params.params} == SearchOptions.model_fields.keys()
    (answer,) = signature.outputs.inputs
    products = answer.type.dtype
    assert [(p.name, p.dtype.name, p.required) for p in products.properties] == [
        ("category", "string", False),
        ("in_stock", "boolean", False),
        ("price", "double", False),
        ("product_id", "string", True),
        ("score", "double", True),
        ("title", "string", False),
    ]


def test_an_answer_is_what_the_signature_says_also_where_fields_are_missing(model: Any) -> None:
    from mlflow.models import infer_signature
    from mlflow.models.utils import _enforce_array

    results = model.predict(ROWS, params={"k": 3})
    (answer,) = model.metadata.signature.outputs.inputs
    for row in results:
        assert _enforce_array(row, answer.type) == row
        assert _enforce_array(
            [{**row[0], "price": None, "in_stock": None, "title": None, "category": None}], answer.type
        )
    inferred = infer_signature(model_output=results).outputs.inputs[0].type
    assert {(p.name, p.dtype) for p in inferred.dtype.properties} == {
        (p.name, p.dtype) for p in answer.type.dtype.properties
    }


def test_the_model_answers_what_the_release_answers_with_every_wish(
    model: Any, read_only_bundle: Path
) -> None:
    params = {
        "k": 4,
        "categories": ["rings"],
        "min_price": 12.0,
        "max_price": 40.0,
        "in_stock": True,
        "exclude": ["p005"],
        "distinct": True,
    }
    options, release = SearchOptions.of(params), Release.open(read_only_bundle)
    results = model.predict(ROWS, params=params)
    assert results == [
        release.similar(png_image(number), options.k, options.filters, options.distinct) for number in (5, 8)
    ]
    assert "p005" not in {product["product_id"] for product in results[0]}
    assert model.predict(ROWS)[0][0]["product_id"] == "p005"


@pytest.mark.parametrize(
    "params",
    [
        {"k": 0},
        {"k": 1001},
        {"k": "many"},
        {"min_price": -1.0},
        {"exclude": "p005"},
        {"exclude": ["a"] * 1001},
        {"distinct": "yes"},
        {"in_stock": 7},
    ],
)
def test_what_cannot_be_wished_for_is_refused_by_name(model: Any, params: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(params))):
        model.predict(ROWS, params=params)


def test_a_column_of_something_else_than_text_is_refused(model: Any) -> None:
    with pytest.raises(InputError, match="The column `image` must contain base64 text"):
        model.predict({"image": ROWS["image"].tolist()})


def test_an_unknown_wish_is_refused_where_mlflow_does_not_drop_it(model: Any) -> None:
    with pytest.raises(InputError, match="colour: Extra inputs are not permitted"):
        model.unwrap_python_model().predict(None, ROWS, {"colour": "red"})


@pytest.mark.process
def test_the_stored_code_is_all_that_a_release_imports(tmp_path: Path) -> None:
    for path in needed_modules():
        copy = tmp_path / path.relative_to(PACKAGE.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    script = (
        "import sys; "
        f"sys.path = [{str(tmp_path)!r}, *(path for path in sys.path if path != {str(PACKAGE.parent)!r})]; "
        "from recsim_tasks.release.registry import pyfunc_model; print(pyfunc_model.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path)), done.stderr
