"""`users`: who may log in, for whoever runs the machine: without a browser, or when nobody can log in any more."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import msgspec
import typer

from portfolio_scheduler.cli.running import JsonOption, run
from portfolio_scheduler.errors import Conflict, NotFound

if TYPE_CHECKING:
    from portfolio_scheduler.app import App
    from portfolio_scheduler.db.people.access_log import Event
    from portfolio_scheduler.db.pool import Tx

users = typer.Typer(help="Who may log in: list, add, set passwords and roles.", no_args_is_help=True)

HERE = "command line"  # where the access log says it came from

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="User name.")]
PasswordFileOption = Annotated[Path | None, typer.Option("--password-file", help="Read the password from this file.")]
StdinOption = Annotated[bool, typer.Option("--stdin", help="Read the password from stdin.")]


class Role(StrEnum):
    """What somebody may do."""

    USER = "user"
    ADMIN = "admin"


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a user."""

    id: UUID
    name: str
    role: str
    created_at: datetime
    can_log_in: bool
    disabled_at: datetime | None
    has_second_factor: bool
    failed_logins: int
    last_login_at: datetime | None
    accounts: int


@users.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """Print all users."""
    from portfolio_scheduler.cli.render import Column, Kind, console, print_json, print_table

    listed = run(_listed)
    if as_json:
        print_json({"users": listed})
        return
    columns = (
        *(Column("Name"), Column("Role"), Column("State"), Column("Second factor")),
        *(Column("Last login", Kind.INSTANT), Column("Accounts", Kind.QUANTITY)),
    )
    rows = [
        (one.name, one.role, _state(one), "yes" if one.has_second_factor else "no", one.last_login_at, one.accounts)
        for one in listed
    ]
    print_table(console(), columns, rows)


def _state(user: UserRow) -> str:
    from portfolio_scheduler.db.people.users import MOST_FAILURES

    if user.disabled_at is not None:
        return "disabled"
    if not user.can_log_in:
        return "no password"
    return "stopped" if user.failed_logins >= MOST_FAILURES else "active"


async def _listed(app: "App") -> list[UserRow]:
    from portfolio_scheduler.db.people.overview import USERS
    from portfolio_scheduler.db.pool import transaction

    async with transaction(app.pool) as tx:
        cursor = await tx.execute(USERS, {"after_at": None, "after_id": None, "limit": None})
        rows = await cursor.fetchall()
    names = UserRow.__struct_fields__
    return [UserRow(**dict(zip(names, row, strict=True))) for row in reversed(rows)]


@users.command()
def add(
    name: NameArgument,
    admin: Annotated[bool, typer.Option("--admin", help="As an administrator.")] = False,
    password_file: PasswordFileOption = None,
    stdin: StdinOption = False,
) -> None:
    """Add a user who can log in. The password is asked for unseen."""
    password = _asked(password_file, stdin=stdin)
    run(lambda app: _add(app, name, Role.ADMIN if admin else Role.USER, password))
    typer.echo(f"{name} can log in now{' as an administrator' if admin else ''}.")


async def _add(app: "App", name: str, role: Role, password: str) -> None:
    from portfolio_scheduler.db.people import users as people
    from portfolio_scheduler.db.people.access_log import Event
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.identity import passwords
    from portfolio_scheduler.identity.names import check_name

    check_name(name)
    passwords.check_rules(password, name)
    hashed = await passwords.hash_password(password)
    async with transaction(app.pool) as tx:
        user_id = await people.add(tx, name, role.value, hashed, app.clock.now())
        await _record(app, tx, Event.REGISTERED, user_id, role=role.value)


@users.command()
def password(
    name: NameArgument,
    password_file: PasswordFileOption = None,
    stdin: StdinOption = False,
    remove_factor: Annotated[
        bool, typer.Option("--remove-factor", help="Remove the second factor, too: app and recovery codes are lost.")
    ] = False,
) -> None:
    """Give a user a new password. Their sessions and programs' tokens end; a stop after many failures is lifted."""
    new = _asked(password_file, stdin=stdin)
    run(lambda app: _set_password(app, name, new, remove_factor=remove_factor))
    typer.echo(f"{name} has a new password; all sessions and tokens of before have ended.")


async def _set_password(app: "App", name: str, new: str, *, remove_factor: bool) -> None:
    from portfolio_scheduler.db.people import api_tokens, factors, sessions
    from portfolio_scheduler.db.people import users as people
    from portfolio_scheduler.db.people.access_log import Event
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.identity import passwords

    user_id = await found(app, name)
    passwords.check_rules(new, name)
    hashed = await passwords.hash_password(new)
    now = app.clock.now()
    async with transaction(app.pool) as tx:
        await people.set_password(tx, user_id, hashed, now)
        await sessions.end_all(tx, user_id, "password reset", now)
        await api_tokens.end_all(tx, user_id, now)
        await _record(app, tx, Event.PASSWORD_CHANGED, user_id)
        if remove_factor:
            await factors.remove(tx, user_id)
            await _record(app, tx, Event.FACTOR_REMOVED, user_id)


@users.command()
def role(name: NameArgument, role: Annotated[Role, typer.Argument(metavar="ROLE", help="user or admin.")]) -> None:
    """Make somebody an administrator, or one a user again. Their sessions end; the last administrator stays."""
    changed = run(lambda app: _set_role(app, name, role))
    typer.echo(f"{name} {'is now' if changed else 'was already'} {role.value}.")


async def _set_role(app: "App", name: str, role: Role) -> bool:
    from portfolio_scheduler.db.people import sessions
    from portfolio_scheduler.db.people import users as people
    from portfolio_scheduler.db.people.access_log import Event
    from portfolio_scheduler.db.pool import transaction

    user_id = await found(app, name)
    async with transaction(app.pool) as tx:
        changed = await people.set_role(tx, user_id, role.value)
        if changed:
            await sessions.end_all(tx, user_id, "role changed", app.clock.now())
            await _record(app, tx, Event.ROLE_CHANGED, user_id, role=role.value)
    return changed


@users.command()
def disable(name: NameArgument) -> None:
    """Let a user in no more and end their sessions. Their accounts are read on; the last administrator stays."""
    changed = run(lambda app: _disable(app, name))
    typer.echo(f"{name} {'is disabled now' if changed else 'was disabled already'}.")


async def _disable(app: "App", name: str) -> bool:
    from portfolio_scheduler.db.people import sessions
    from portfolio_scheduler.db.people import users as people
    from portfolio_scheduler.db.people.access_log import Event
    from portfolio_scheduler.db.pool import transaction

    user_id, now = await found(app, name), app.clock.now()
    async with transaction(app.pool) as tx:
        changed = await people.disable(tx, user_id, now)
        if changed:
            await sessions.end_all(tx, user_id, "disabled", now)
            await _record(app, tx, Event.DISABLED, user_id)
    return changed


@users.command()
def enable(name: NameArgument) -> None:
    """Let a user in again, also one whom a hundred failed logins stopped."""
    run(lambda app: _enable(app, name))
    typer.echo(f"{name} may log in.")


async def _enable(app: "App", name: str) -> None:
    from portfolio_scheduler.db.people import users as people
    from portfolio_scheduler.db.people.access_log import Event
    from portfolio_scheduler.db.pool import transaction

    user_id = await found(app, name)
    async with transaction(app.pool) as tx:
        changed = await people.enable(tx, user_id)
        await people.forget_failures(tx, user_id)
        await _record(app, tx, Event.ENABLED if changed else Event.UNLOCKED, user_id)


@users.command("setup-token")
def setup_token() -> None:
    """Print a token with which the first user registers; refused when somebody can log in already."""
    token = run(new_setup_token)
    if token is None:
        raise Conflict("Somebody can log in already: an administrator invites others, or run: users add NAME")
    typer.echo(token)


async def new_setup_token(app: "App") -> str | None:
    """A token for the first registration, good for a day; None when somebody can log in."""
    from portfolio_scheduler.db.people import invitations
    from portfolio_scheduler.db.people import users as people
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.identity import opaque

    token, digest = opaque.make(opaque.Kind.SETUP)
    now = app.clock.now()
    async with transaction(app.pool) as tx:
        if await people.can_anybody_log_in(tx):
            return None
        await invitations.add(
            tx, digest=digest, role="admin", invited_by=None, now=now, expires_at=now + invitations.SETUP_LIFE
        )
    return token


async def found(app: "App", name: str) -> UUID:
    """The user of that name, or `NotFound`."""
    from portfolio_scheduler.db.people import users as people
    from portfolio_scheduler.db.pool import transaction

    async with transaction(app.pool) as tx:
        user_id = await people.id_of_name(tx, name)
    if user_id is None:
        raise NotFound(f"There is no user {name!r}; `portfolio-scheduler users list` shows all.")
    return user_id


async def _record(app: "App", tx: "Tx", event: "Event", user_id: UUID, **details: str) -> None:
    from portfolio_scheduler.db.people.access_log import record

    await record(tx, event, app.clock.now(), HERE, subject_id=user_id, details=details)


def _asked(file: Path | None, *, stdin: bool) -> str:
    from portfolio_scheduler.cli.render import ask_secret

    return ask_secret("Password", file, stdin)
