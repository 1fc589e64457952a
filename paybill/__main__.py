"""`python -P -m paybill`. Not another program: it opens the front door."""

from __future__ import annotations

from paybill import main

main()
