"""Operations outside a refresh: status, releases, queries, maintenance.

Comes in: settings. Goes out: results for an operator. Promises: status, releases and queries change nothing;
maintenance removes nothing that a reader within the retention needs.
"""
