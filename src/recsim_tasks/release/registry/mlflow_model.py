"""Pack a bundle as an MLflow model folder: code, signature, requirements, example; without pickle."""

from __future__ import annotations

import ast
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import recsim_tasks
from recsim_tasks.catalogue.schema import ANSWERED_FIELDS

if TYPE_CHECKING:
    from mlflow.models.model import Model
    from mlflow.models.signature import ModelSignature

    from recsim_tasks.release.manifest import Manifest

ARTIFACT = "release"
PACKAGE = Path(recsim_tasks.__file__).parent
MODEL_CODE = PACKAGE / "release" / "registry" / "pyfunc_model.py"
# All that opening and querying a release imports, besides the package itself.
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "faiss-cpu",
    "ai-edge-litert",
    "pydantic",
    "pydantic-settings",
)


def pack(bundle: Path, manifest: Manifest, model: Model, out: Path) -> None:
    """Write the bundle as the MLflow model folder `out`.

    `model` receives its flavor, signature and example.
    """
    from mlflow.pyfunc import save_model

    with tempfile.TemporaryDirectory() as scratch:
        save_model(
            path=str(out),
            mlflow_model=model,
            python_model=str(MODEL_CODE),
            artifacts={ARTIFACT: str(bundle)},
            code_paths=[str(_copy_code(Path(scratch)))],
            signature=_signature(),
            input_example=({"image": [manifest.canaries[0].image]}, {"k": 3}) if manifest.canaries else None,
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
        )


def bundle_place(model: Model) -> str:
    """The relative path of a packed bundle in its model folder."""
    return str(model.flavors["python_function"]["artifacts"][ARTIFACT]["path"])


def needed_modules(start: Path = MODEL_CODE) -> set[Path]:
    """The files of this package that are imported with `start`, itself and `__init__` files included."""
    modules: set[Path] = set()
    waiting = {start}
    while waiting:
        path = waiting.pop()
        modules.add(path)
        packages = {folder / "__init__.py" for folder in path.parents if folder.is_relative_to(PACKAGE)}
        waiting |= (packages | _imports(path)) - modules
    return modules


def _imports(path: Path) -> set[Path]:
    """Files of this package that `path` imports at its top: `from a.b import c` may name packages."""
    statements = [
        node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ImportFrom) and node.module
    ]
    names = [f"{node.module}.{alias.name}" for node in statements for alias in node.names]
    named = {PACKAGE.parent / Path(*name.split(".")) for name in names if name.startswith(f"{PACKAGE.name}.")}
    return {
        file
        for place in named
        for module in (place, place.parent)
        for file in (module.with_suffix(".py"), module / "__init__.py")
        if file.is_file()
    }


def _copy_code(scratch: Path) -> Path:
    """Copy only what is needed: MLflow uploads file by file, at about 50 ms each."""
    for path in needed_modules():
        target = scratch / path.relative_to(PACKAGE.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return scratch / PACKAGE.name


def _signature() -> ModelSignature:
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, Object, Property

    types = {"string": DataType.string, "double": DataType.double, "boolean": DataType.boolean}
    product = [
        Property(field.name, types[field.type], required=field.source == "key") for field in ANSWERED_FIELDS
    ]
    product.insert(1, Property("score", DataType.double))
    params = [
        ParamSpec("k", DataType.long, 10),
        ParamSpec("categories", DataType.string, [], (-1,)),
        ParamSpec("min_price", DataType.double, None),
        ParamSpec("max_price", DataType.double, None),
        ParamSpec("in_stock", DataType.boolean, None),
        ParamSpec("exclude", DataType.string, [], (-1,)),
        ParamSpec("distinct", DataType.boolean, False),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "image")]),
        outputs=Schema([ColSpec(Array(Object(product)))]),
        params=ParamSchema(params),
    )
