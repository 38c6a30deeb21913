"""The command line `recsim`: one command a job.

Input: arguments. Output: one JSON object on the last line of stdout, and an exit code.
Guarantees: a command does one step, and imports what it needs only when it runs.
"""
