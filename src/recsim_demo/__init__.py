"""The demo: three feeds through a real Airflow, with measurements.

It uses recsim as a retailer does: it delivers feeds, follows Airflow, and queries the HTTP API.
"""
