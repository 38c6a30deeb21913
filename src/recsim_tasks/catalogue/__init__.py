"""The catalogue: from a feed to one row a product.

Input: feed directories closed by a manifest. Output: the Delta tables `products` (with change feed) and
`quarantine`, and the net changes between two versions.
Guarantees: a feed is applied once; an invalid row is kept with its reason; a row that changes nothing writes
nothing.
"""
