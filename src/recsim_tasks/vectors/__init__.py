"""Vectors: embed only new images, and put only new embeddings into the index.

Input: products at a cursor, an encoder's folder. Output: the embeddings table, an index folder keyed by
product id. Guarantees: an encoder embeds an image once; an appended index answers like a rebuilt one.
"""
