"""The Airflow side: launches `recsim` jobs, waits for the catalogue, hears of landed feeds.

Comes in: run settings and events. Goes out: one command a task, its result as XCom, its reason in one line.
Promises: no process outlives its task; nothing heavy is imported when a DAG is parsed.
"""
