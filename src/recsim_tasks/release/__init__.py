"""Releases: model, index, product fields and manifest as one bundle, evaluated and promoted as a whole.

Input: a model folder and an index folder. Output: a version of the registered model `recsim` in MLflow,
and its bundle. Guarantees: no file is opened before its digest is checked; one release answers a query; a
worse challenger is rejected, with the reason.
"""
