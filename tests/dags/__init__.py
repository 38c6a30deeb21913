"""A package, so that its Airflow ends with the last test in here."""
