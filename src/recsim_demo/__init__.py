"""The demo: a real Airflow, two feeds, and what came of them. Uses recsim as anybody else would."""
