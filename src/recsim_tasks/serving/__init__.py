"""Serving: an HTTP API over the release in Production, which is swapped in the running process.

Comes in: the registry's champion, HTTP requests. Goes out: neighbours with scores and product fields, of one
named release. Promises: no answer mixes releases; a release answers only after it was verified; the loaded
release keeps serving while the registry is away.
"""
