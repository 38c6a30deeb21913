"""A refresh: the decision what it must do, and the workspace in which its steps leave their results.

Comes in: the champion's cursor and the change range. Goes out: the plan, and the result of every step.
Promises: the plan is a pure decision with its reasons; a step that runs again replaces its own output and
nothing else.
"""
