"""The demo: three feeds through a real Airflow, with measurements.

It uses recsim only through its public interfaces.
"""
