"""Serving: the release in Production behind an HTTP API, swapped in the running process when another one is promoted.

Comes in: the registry's champion, HTTP requests. Goes out: neighbours with score and product fields, always of one named release.
Promises: no answer mixes releases; no release answers before it was verified; what is loaded goes on serving when the registry is away.
"""
