"""Feeds: from a delivered folder to changes of the catalogue."""
