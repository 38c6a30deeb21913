"""Releases: model, index, ids and manifest as one bundle that is judged, registered, promoted, rolled back and opened as a whole.

Comes in: a model folder and an index folder. Goes out: a version of MLflow's registered model `recsim`, and the bundle behind it.
Promises: no file is opened before its digest was checked; an answer comes from one release; a worse challenger is held, with the reason.
"""
