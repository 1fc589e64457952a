"""The payment providers, one an adapter of the port. Not the port, and not when one is asked."""
