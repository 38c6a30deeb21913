"""The base of all packages: errors, settings, logging, atomic publishing, leases, processes, the Spark session.

Comes in: the environment (read in `settings`, nowhere else). Goes out: small tools without an opinion on products.
Promises: no file is ever half-written, no child process outlives its job.
"""
