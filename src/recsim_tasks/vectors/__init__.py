"""Vectors: embed only new images, and put only new embeddings into the index.

Comes in: products at a cursor, an encoder's folder. Goes out: the embeddings table, an index folder keyed by
product id. Promises: an encoder embeds an image once; an appended index answers like a rebuilt one.
"""
