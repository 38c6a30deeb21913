"""What every room stands on: errors, settings, atomic publishing, leases, process care, progress.

Comes in: the environment (read in `settings`, nowhere else). Goes out: small tools without an opinion on products.
Promises: no file is ever half-written, no child process outlives its job.
"""
