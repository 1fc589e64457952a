"""Sealed boxes, tenant keys and signing keys. Not a place where secrets are stored."""
