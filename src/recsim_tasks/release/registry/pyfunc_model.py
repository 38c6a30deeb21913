"""A release as MLflow's own servers load it: models from code, so that this file is what is stored, and nothing is pickled.

MLflow runs this file where the model is served, with a copy of this package beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import set_model

from recsim_tasks.catalogue.images.base64 import from_base64
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.search_options import SearchOptions


class ReleaseModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]  # MLflow's class has no types
    """Takes rows with a column `image` (base64 of a JPEG, PNG or WebP); gives each row's neighbours, best first."""

    def load_context(self, context: Any) -> None:
        """Open the bundle, digests and canaries first."""
        self.release = Release.open(Path(context.artifacts["release"]))

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Lists of products as `Release.similar` gives them, one a row; `params` are the fields of `SearchOptions`, `InputError` when they are not."""
        options = SearchOptions.of(params or {})
        if not all(isinstance(image, str) for image in model_input["image"]):
            raise InputError(
                "The column `image` holds something else than base64 text. Send one image in each row."
            )
        k, filters, distinct = options.k, options.filters, options.distinct
        return [
            self.release.similar(from_base64(image), k, filters, distinct) for image in model_input["image"]
        ]


set_model(ReleaseModel())
