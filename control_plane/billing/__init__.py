"""What a tenant owes: periods, prices, proration, and the ledger. Not what a plan entitles to."""
