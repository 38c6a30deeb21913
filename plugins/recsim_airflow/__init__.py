"""The Airflow side: runs `recsim` jobs as tasks, waits for the catalogue, starts a refresh when feeds land.

Input: run parameters and asset events. Output: one command per task, its result as XCom, its status line.
Guarantees: no process outlives its task; parsing a DAG imports nothing heavy.
"""
