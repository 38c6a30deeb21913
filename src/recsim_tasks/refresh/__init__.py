"""A refresh: what it must do, and where its steps leave what the next ones need.

Comes in: the champion's cursor and the change range. Goes out: the plan, and a workspace with the result of every step.
Promises: the plan is a pure decision with its reasons; a step that is run again replaces its own output and nothing else.
"""
