"""Operations outside a refresh: status, releases, queries, maintenance.

Input: settings. Output: results for an operator. Guarantees: status, releases and queries change nothing;
maintenance removes nothing that a reader within the retention needs.
"""
