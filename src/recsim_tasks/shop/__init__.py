"""The shop window: what shoppers and merchandisers see.

Comes in: the address of the HTTP API. Goes out: a Streamlit page.
Promises: it asks the HTTP API and nothing else, and says so honestly when there is nothing to show.
"""
