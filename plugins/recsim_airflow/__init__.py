"""The Airflow side: runs `recsim` jobs as tasks, waits for the catalogue, starts a refresh when feeds land.

Comes in: run parameters and asset events. Goes out: one command per task, its result as XCom, its status
line. Promises: no process outlives its task; parsing a DAG imports nothing heavy.
"""
