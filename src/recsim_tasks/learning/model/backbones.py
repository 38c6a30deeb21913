"""What a network sees with: from pixels to maps of features. One small residual CNN of our own, two of TF Similarity's architectures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.tensorflow_runtime import tensorflow

# Widths of the residual blocks; a wider block halves the side first.
WIDTHS = (32, 64, 128)
# Keras keeps 0.99 of the running statistics a step: a short training would end with those of its start.
MOMENTUM = 0.9
LARGEST_CONVOLVED_SIDE = 32
LARGEST_BLOCK_SIDE = 16


def build_backbone(name: str, preprocessing: Preprocessing, weights: str | None) -> Any:
    """Build a Keras model from pixels 0..255, float32 [n, size, size, channels], to features [n, h, w, f], or a list of them.

    `weights` names a Keras file (`.h5`) of this backbone to start from. Raises `ConfigurationError` for a backbone that is not known
    and for weights that are not its own.
    """
    if name not in BACKBONES:
        raise ConfigurationError(
            f"Unknown backbone {name!r} (RECSIM_BACKBONE); there are {', '.join(BACKBONES)}."
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
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"{weights} (RECSIM_BACKBONE_WEIGHTS) does not hold the weights of a {name}: {reason}"
        ) from error


def _cnn(preprocessing: Preprocessing) -> Any:
    """Blocks after K. He et al., "Identity Mappings in Deep Residual Networks" (2016, https://arxiv.org/abs/1603.05027).

    The last two blocks are seen: what the last one makes of the pixels serves the categories that it was trained on, what comes before
    serves others as well.
    """
    layers = tensorflow().keras.layers
    pixels = layers.Input(preprocessing.shape)
    x = _stem(layers, layers.Rescaling(1 / 255)(pixels), preprocessing.size)
    seen = []
    for before, width in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
        x = _block(layers, x, width, stride=1 if width == before else 2)
        seen.append(x)
    maps = [layers.Activation("relu")(layers.BatchNormalization()(x)) for x in seen[-2:]]
    return tensorflow().keras.Model(pixels, maps, name="cnn")


def _stem(layers: Any, x: Any, side: int) -> Any:
    """Convolve to the first width; halve the side until the first blocks, the costliest, see at most 16 x 16 places."""
    while side > LARGEST_CONVOLVED_SIDE:
        x = layers.Conv2D(WIDTHS[0], 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        side = (side + 1) // 2
    x = layers.Conv2D(WIDTHS[0], 3, padding="same", use_bias=False)(x)
    return layers.MaxPooling2D()(x) if side > LARGEST_BLOCK_SIDE else x


def _block(layers: Any, x: Any, width: int, stride: int) -> Any:
    """Normalise, activate, convolve, twice; added to the input, which is projected where the shape changes."""
    y = layers.Activation("relu")(layers.BatchNormalization()(x))
    if stride != 1:
        x = layers.Conv2D(width, 1, strides=stride, use_bias=False)(y)
    y = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(y)
    y = layers.Activation("relu")(layers.BatchNormalization()(y))
    return layers.Add()([x, layers.Conv2D(width, 3, padding="same", use_bias=False)(y)])


def _resnet18(preprocessing: Preprocessing) -> Any:
    """K. He et al., "Deep Residual Learning for Image Recognition" (2015, https://arxiv.org/abs/1512.03385)."""
    from tensorflow_similarity.architectures.resnet18 import build_resnet

    keras = tensorflow().keras
    pixels = keras.layers.Input(preprocessing.shape)
    features = _fused(build_resnet(preprocessing.shape))
    return keras.Model(pixels, features(keras.layers.Rescaling(1 / 255)(pixels)), name="resnet18")


def _efficientnet(preprocessing: Preprocessing) -> Any:
    """M. Tan, Q. V. Le, "EfficientNet" (2019, https://arxiv.org/abs/1905.11946); it scales pixels itself, and sees three channels."""
    from tensorflow_similarity.architectures.efficientnet import build_effnet

    keras = tensorflow().keras
    pixels = keras.layers.Input(preprocessing.shape)
    colour = pixels if preprocessing.channels == 3 else keras.layers.Concatenate()([pixels] * 3)
    features = _fused(build_effnet("B0", weights=None, trainable="full"))
    return keras.Model(pixels, features(colour), name="efficientnet-b0")


def _fused(architecture: Any) -> Any:
    """Replace the synchronised batch normalisation of an architecture of TF Similarity by the fused one.

    It synchronises over the replicas of `tf.distribute`, of which a rank has one, and Keras computes it in
    many small steps. Names and weights stay as they are.
    """
    keras = tensorflow().keras

    def plain(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.experimental.SyncBatchNormalization):
            return type(layer).from_config(layer.get_config())
        return keras.layers.BatchNormalization.from_config({**layer.get_config(), "fused": True})

    return keras.models.clone_model(architecture, clone_function=plain)


BACKBONES: dict[str, Callable[[Preprocessing], Any]] = {
    "cnn": _cnn,
    "resnet18": _resnet18,
    "efficientnet-b0": _efficientnet,
}
