"""The shop, for shoppers and merchandisers.

Comes in: the address of the HTTP API. Goes out: a Streamlit page.
Promises: it uses nothing but the HTTP API, and says so when there is nothing to show.
"""
