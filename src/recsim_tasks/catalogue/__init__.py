"""The catalogue: from a feed to one row a product.

Comes in: feed directories closed by a manifest. Goes out: the Delta tables `products` (with change feed) and
`quarantine`, and the net changes between two versions.
Promises: a feed is applied once; an invalid row is kept with its reason; a row that changes nothing writes
nothing.
"""
