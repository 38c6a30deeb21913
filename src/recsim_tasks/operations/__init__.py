"""Operations outside a refresh: status, releases, queries, maintenance.

Comes in: settings. Goes out: what an operator asks for. Promises: questions change nothing; maintenance removes nothing that a reader within the retention needs.
"""
