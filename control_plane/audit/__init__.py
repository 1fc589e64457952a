"""Leaves, the tree over them, checkpoints and their verification. Not who may read the log."""
