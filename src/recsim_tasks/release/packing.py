"""Pack a bundle as an MLflow model folder: code, signature, requirements, example; without a trial run and without pickle."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import recsim_tasks

if TYPE_CHECKING:
    from mlflow.models.model import Model
    from mlflow.models.signature import ModelSignature

    from recsim_tasks.release.manifest import Manifest

ARTIFACT = "release"
PACKAGE = Path(recsim_tasks.__file__).parent
MODEL_CODE = PACKAGE / "release" / "pyfunc_model.py"
# All that opening and asking a release imports, beside the package itself.
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow", "pyarrow", "faiss-cpu", "ai-edge-litert", "pydantic", "pydantic-settings")


def pack(bundle: Path, manifest: Manifest, model: Model, out: Path) -> None:
    """Write the bundle as the MLflow model folder `out`; `model` is filled with what MLflow must know of it."""
    from mlflow.pyfunc import save_model

    save_model(
        path=str(out),
        mlflow_model=model,
        python_model=str(MODEL_CODE),
        artifacts={ARTIFACT: str(bundle)},
        code_paths=[str(PACKAGE)],
        signature=_signature(),
        input_example=({"image": [manifest.canaries[0].image]}, {"k": 3}) if manifest.canaries else None,
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
    )


def bundle_place(model: Model) -> str:
    """Where in its model folder a packed bundle stands, relative."""
    return str(model.flavors["python_function"]["artifacts"][ARTIFACT]["path"])


def _signature() -> ModelSignature:
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    params = [
        ParamSpec("k", DataType.long, 10),
        ParamSpec("categories", DataType.string, [], (-1,)),
        ParamSpec("min_price", DataType.double, None),
        ParamSpec("max_price", DataType.double, None),
        ParamSpec("in_stock", DataType.boolean, None),
    ]
    return ModelSignature(inputs=Schema([ColSpec(DataType.string, "image")]), params=ParamSchema(params))
