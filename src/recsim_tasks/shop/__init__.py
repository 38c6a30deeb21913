"""The shop, for shoppers and merchandisers.

Input: the address of the HTTP API. Output: a Streamlit page.
Guarantees: it uses nothing but the HTTP API, and says so when there is nothing to show.
"""
