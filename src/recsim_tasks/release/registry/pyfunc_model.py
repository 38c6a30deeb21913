"""A release as MLflow's own servers load it.

It is logged as "models from code", so that this file is stored instead of a pickle. MLflow runs this file
where the model is served, with a copy of this package beside it.
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
    """Finds the neighbours, best first, of each row's `image` (base64 of a JPEG, PNG or WebP)."""

    def load_context(self, context: Any) -> None:
        """Open the bundle with all its checks."""
        self.release = Release.open(Path(context.artifacts["release"]))

    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[Any]:
        """One list of products for each row, as `Release.similar` returns them.

        `params` are the fields of `SearchOptions`; `InputError` if they are not valid.
        """
        options = SearchOptions.of(params or {})
        if not all(isinstance(image, str) for image in model_input["image"]):
            raise InputError("The column `image` must contain base64 text. Send one image in each row.")
        k, filters, distinct = options.k, options.filters, options.distinct
        return [
            self.release.similar(from_base64(image), k, filters, distinct) for image in model_input["image"]
        ]


set_model(ReleaseModel())
