"""Backbones, from pixels to feature maps: a small residual CNN and two architectures of TF Similarity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.foundation.redaction import first_line
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.tensorflow_runtime import tensorflow, tensorflow_similarity

# Widths of the residual blocks; a wider block halves the side first.
WIDTHS = (32, 64, 128)
# Keras keeps 0.99 of the running statistics per step: a short training would end with those of its start.
MOMENTUM = 0.9
LARGEST_CONVOLVED_SIDE = 32
LARGEST_BLOCK_SIDE = 16


def build_backbone(name: str, preprocessing: Preprocessing, weights: str | None) -> Any:
    """Build a Keras model from pixels 0..255, float32 [n, size, size, channels], to one or more feature maps.

    `weights` is a Keras file (`.h5`) of this backbone to start from. Raises `ConfigurationError` for an
    unknown backbone and for weights of another one.
    """
    if name not in BACKBONES:
        raise ConfigurationError(
            f"Unknown backbone {name!r} (RECSIM_BACKBONE). Set it to one of {', '.join(BACKBONES)}."
        )
    if weights and not Path(weights).is_file():
        raise ConfigurationError(
            f"There is no file {weights} (RECSIM_BACKBONE_WEIGHTS). Correct the path, or unset it."
        )
    model = BACKBONES[name](preprocessing)
    for layer in model._flatten_layers():
        if isinstance(layer, tensorflow().keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    if weights:
        _load(model, name, weights)
    return model


def _load(model: Any, name: str, weights: str) -> None:
    try:
        model.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigurationError(
            f"{weights} (RECSIM_BACKBONE_WEIGHTS) does not contain the weights of a {name}: "
            f"{first_line(error)}"
        ) from error


def _cnn(preprocessing: Preprocessing) -> Any:
    """Blocks after K. He et al., "Identity Mappings in Deep Residual Networks" (2016, https://arxiv.org/abs/1603.05027).

    Returns the features of the last two blocks: the last fits the categories that the network was trained on,
    the one before fits others as well.
    """
    layers = tensorflow().keras.layers
    pixels = layers.Input(preprocessing.shape)
    x = _stem(layers, layers.Rescaling(1 / 255)(pixels), preprocessing.size)
    blocks = []
    for before, width in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
        x = _block(layers, x, width, stride=1 if width == before else 2)
        blocks.append(x)
    maps = [layers.Activation("relu")(layers.BatchNormalization()(x)) for x in blocks[-2:]]
    return tensorflow().keras.Model(pixels, maps, name="cnn")


def _stem(layers: Any, x: Any, side: int) -> Any:
    """Convolve to the first width; halve the side to at most 16, since the first blocks are the costliest."""
    while side > LARGEST_CONVOLVED_SIDE:
        x = layers.Conv2D(WIDTHS[0], 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        side = (side + 1) // 2
    x = layers.Conv2D(WIDTHS[0], 3, padding="same", use_bias=False)(x)
    return layers.MaxPooling2D()(x) if side > LARGEST_BLOCK_SIDE else x


def _block(layers: Any, x: Any, width: int, stride: int) -> Any:
    """Normalise, activate, convolve, twice; add the input, which is projected where the shape changes."""
    y = layers.Activation("relu")(layers.BatchNormalization()(x))
    if stride != 1:
        x = layers.Conv2D(width, 1, strides=stride, use_bias=False)(y)
    y = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(y)
    y = layers.Activation("relu")(layers.BatchNormalization()(y))
    return layers.Add()([x, layers.Conv2D(width, 3, padding="same", use_bias=False)(y)])


def _resnet18(preprocessing: Preprocessing) -> Any:
    """K. He et al., "Deep Residual Learning for Image Recognition" (2015, https://arxiv.org/abs/1512.03385)."""
    keras = tensorflow().keras
    build_resnet = tensorflow_similarity().architectures.resnet18.build_resnet
    pixels = keras.layers.Input(preprocessing.shape)
    features = _fused(build_resnet(preprocessing.shape))
    return keras.Model(pixels, features(keras.layers.Rescaling(1 / 255)(pixels)), name="resnet18")


def _efficientnet(preprocessing: Preprocessing) -> Any:
    """M. Tan, Q. V. Le, "EfficientNet" (2019, https://arxiv.org/abs/1905.11946); scales pixels itself."""
    keras = tensorflow().keras
    build_effnet = tensorflow_similarity().architectures.efficientnet.build_effnet
    pixels = keras.layers.Input(preprocessing.shape)
    colour = pixels if preprocessing.channels == 3 else keras.layers.Concatenate()([pixels] * 3)
    features = _fused(build_effnet("B0", weights=None, trainable="full"))
    return keras.Model(pixels, features(colour), name="efficientnet-b0")


def _fused(architecture: Any) -> Any:
    """Replace the synchronised batch normalisation of an architecture of TF Similarity by the fused one.

    The former synchronises over the replicas of `tf.distribute`, of which a rank has one, and Keras computes
    it in many small steps. Names and weights stay the same.
    """
    keras = tensorflow().keras

    def with_fused_normalisation(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.experimental.SyncBatchNormalization):
            return type(layer).from_config(layer.get_config())
        return keras.layers.BatchNormalization.from_config({**layer.get_config(), "fused": True})

    return keras.models.clone_model(architecture, clone_function=with_fused_normalisation)


BACKBONES: dict[str, Callable[[Preprocessing], Any]] = {
    "cnn": _cnn,
    "resnet18": _resnet18,
    "efficientnet-b0": _efficientnet,
}
