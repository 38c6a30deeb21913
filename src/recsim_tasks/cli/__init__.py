"""The command line `recsim`: one command a job.

Comes in: arguments. Goes out: one JSON object on the last line of stdout, and an exit code.
Promises: a command does one step, and imports what it needs only when it runs.
"""
