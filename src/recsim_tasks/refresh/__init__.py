"""A refresh: the decision about what it must do, and the workspace in which its steps leave their results.

Input: the champion's cursor and the change range. Output: the plan, and the result of every step.
Guarantees: the plan is a pure decision with its reasons; a step that runs again replaces its own output and
nothing else.
"""
