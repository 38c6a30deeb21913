"""The similarity model: from labelled product images to a network that turns an image into a vector.

Comes in: the catalogue at one version. Goes out: a model folder (SavedModel, its LiteRT copy, model.json), and the `Embedder` that reads it.
Promises: all ranks end with the same weights, no test image is trained or tuned on, a collapsed model is refused.
"""
