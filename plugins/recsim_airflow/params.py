"""The form with which a person triggers a refresh."""

from __future__ import annotations

from airflow.sdk import Param

from recsim_tasks.foundation.settings import Settings

MODES = {
    "auto": "auto: let the plan decide",
    "append": "append: process only what changed",
    "rebuild": "rebuild: embed and index every product with the current encoder",
    "retrain": "retrain: train a new encoder, then embed and index every product",
}
APPROVALS = {
    "none": "none: promote every release that passes the gate",
    "ask": "ask: a person approves the release first",
}


def refresh_params(settings: Settings) -> dict[str, Param]:
    """The parameters of a refresh; the settings give their defaults."""
    return {
        "mode": Param(
            "auto",
            type="string",
            enum=list(MODES),
            values_display=MODES,
            title="Mode",
            description="Leave it at auto, unless the refresh must do more than the changes need.",
        ),
        "approval": Param(
            settings.approval,
            type="string",
            enum=list(APPROVALS),
            values_display=APPROVALS,
            title="Approval",
            description="Whether a person must approve a new release before it goes into Production.",
        ),
        "trials": Param(
            settings.tune_trials,
            type="integer",
            minimum=1,
            maximum=max(200, settings.tune_trials),
            title="Trials",
            section="Retraining",
            description="Number of hyperparameter sets to try. Only a retrain uses it.",
        ),
    }
