"""The cost of an ingest, compared with stock Spark, delta-rs, a table scan and a redelivery."""
