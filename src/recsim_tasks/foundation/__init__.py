"""The base of all packages: settings, errors, logging, publishing, leases, processes, the Spark session.

Input: the environment (read in `settings`, nowhere else). Output: small tools without an opinion on products.
Guarantees: no file is ever half-written, no child process outlives its job.
"""
