"""`migrate`: bring the database to this release's tables."""

from typing import Annotated

import typer

from portfolio_scheduler.cli.running import prepared


def migrate(
    reset_passwords: Annotated[
        bool, typer.Option("--reset-passwords", help="Give the two roles of the product new passwords.")
    ] = False,
) -> None:
    """Make or update the tables and the roles of the database: the embedded one, or that of DATABASE_URL."""
    from portfolio_scheduler.cli.render import progress
    from portfolio_scheduler.db import server
    from portfolio_scheduler.db.migrate import migrate as run_migrations

    settings = prepared()
    with progress("Migrating the database"), server.database(settings) as conninfo:
        result = run_migrations(conninfo, settings, reset_passwords=reset_passwords)
    for revision in result.applied:
        typer.echo(f"applied {revision}")
    typer.echo(f"The database is at {result.after!r}." if result.applied else f"Already up to date ({result.after!r}).")
    if reset_passwords:
        typer.echo("The roles of the product have new passwords; restart what runs.")
