"""The store's migrations, run by Alembic. Nothing imports them."""
