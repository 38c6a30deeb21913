"""The local stack: Airflow, MLflow, the HTTP API and the shop, for the demo, `make up` and the tests."""
