"""All the work of a refresh: from a product feed to a served release.

Comes in: feeds, settings. Goes out: Delta tables, releases in a registry, answers over HTTP.
Promises: every step can be killed and rerun; nothing in here knows of Airflow.
"""
