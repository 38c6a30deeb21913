"""Vectors: only new images are embedded, only new embeddings enter the index.

Comes in: products at a cursor, a model folder. Goes out: the embeddings table, an index folder keyed by product id.
Promises: an image is embedded once a model; an index that was appended to answers like one built anew.
"""
