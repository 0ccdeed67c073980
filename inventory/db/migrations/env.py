"""Run by alembic; the connection and its transaction are the caller's
(inventory/db/maintenance.py).
"""

from alembic import context

context.run_migrations()
