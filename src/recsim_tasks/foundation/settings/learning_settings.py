"""The encoder: its input, its network, tuning and training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from recsim_tasks.foundation.settings.fields import Channels, Count, SettingsGroup


class LearningSettings(SettingsGroup):
    """How the encoder is tuned and trained, and on which devices."""

    image_size: Annotated[int, Field(ge=16, le=512)] = Field(
        64, description="Side of the encoder's input, pixels."
    )
    image_channels: Channels = Field(3, description="Channels of the encoder's input: 1 grey, 3 colour.")
    backbone: Literal["cnn", "resnet18", "efficientnet-b0"] = Field(
        "cnn", description="Architecture: a small CNN, or one of TF Similarity's."
    )
    backbone_weights: Path | None = Field(
        None, description="Keras file (`.h5`) with weights that the backbone starts from."
    )
    embedding_size: Annotated[int, Field(ge=8, le=1024)] = Field(128, description="Length of an embedding.")
    gpus: Annotated[int, Field(ge=0)] = Field(
        0,
        description="GPUs for tuning and training, and slots of `gpu_pool`; 0 trains on CPU threads.",
    )
    deterministic: bool = Field(
        False,
        description="Train bit-identical encoders on GPUs, about a fifth slower. On CPUs training always is.",
    )
    seed: int = Field(20, description="Seed of the search, the batches and the samples.")
    ranks: Count = Field(2, description="Horovod ranks of one training; one GPU each when there are GPUs.")
    train_images: Count = Field(250_000, description="Images that a training sees, counted with repetition.")
    warm_start: bool = Field(
        False, description="Train an encoder of the champion's architecture from the champion's weights."
    )
    tune_trials: Count = Field(4, description="Trials of one search.")
    tune_minutes: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Minutes after which a search ends with the best trial so far."
    )
    tune_parallel: Count = Field(2, description="Trials that run at the same time, each on its own device.")
    tune_images: Count = Field(8_000, description="Images that one trial sees, counted with repetition.")
