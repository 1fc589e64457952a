"""Runs `python -m paybill`. Not the program itself."""

from __future__ import annotations

from paybill import main

main()
