"""Serving: an HTTP API over the release in Production, which is swapped in the running process.

Input: the registry's champion, HTTP requests. Output: neighbours with scores and product fields, of one
named release. Guarantees: no answer mixes releases; a release answers only after it was verified; the loaded
release keeps serving while the registry is away.
"""
