"""Entry point of Alembic. The caller owns the connection (inventory/db/maintenance.py)."""

from alembic import context

context.run_migrations()
