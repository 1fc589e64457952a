"""Pulling: declarations of collections made of a database's schema. Not a way to its rows."""
