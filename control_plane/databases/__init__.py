"""The engines of tenants' databases, behind one port. Not what is in the tables: see `data`."""
