"""The Delta tables of the catalogue: reader, writer, change feed, log, maintenance."""
