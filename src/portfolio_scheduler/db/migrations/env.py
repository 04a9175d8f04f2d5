"""Alembic's door. There is no ini file: `db.migrate` hands over a connection with the transaction already begun."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    transactional_ddl=False,  # the transaction is the caller's: all pending migrations and grants, or nothing
)
context.run_migrations()
