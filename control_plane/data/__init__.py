"""Collections, and the rows in them: tables, models, filters, pages. Not the engines."""
