"""What every table of our own store is made with: one metadata, and the types of its columns. Not a table."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData, String

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

ID = String(64)
SLUG = String(40)
INSTANT = String(32)
NAME = String(120)
WORD = String(40)
DIGEST = String(64)
# Of what grows without end. SQLite's INTEGER is as large, and only it may be a rowid.
COUNT = BigInteger().with_variant(Integer(), "sqlite")
