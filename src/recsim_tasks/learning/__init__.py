"""The encoder: from labelled product images to a network that turns an image into an embedding.

Input: the catalogue at one version. Output: a model folder (SavedModel, its LiteRT copy, model.json), which
`Embedder` opens. Guarantees: all ranks end with the same weights, no test image is trained or tuned on, a
collapsed model is refused.
"""
