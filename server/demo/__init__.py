"""The demo: real processes in a throw-away workspace, shown step by step. Not a double of any part."""
