"""The catalogue: from a feed to one row a product.

Comes in: feed directories closed by a manifest. Goes out: the Delta tables `products` (change feed on) and `quarantine`, and what changed between two versions.
Promises: a feed is applied once; a row that cannot be taken is kept with its reason; a row that is already there writes nothing.
"""
