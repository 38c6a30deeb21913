"""What a feed costs: against the table's size, stock Spark, delta-rs, a scan of the table, and its own redelivery."""
