"""`accounts`: connect broker accounts, look at them, try their logins. Secrets are never options: others see those."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import NO_ACCOUNTS, JsonOption, chosen, run
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.errors import BrokerError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from portfolio_scheduler.app import App
    from portfolio_scheduler.brokers.broker import Credentials
    from portfolio_scheduler.cli.standing import Standing
    from portfolio_scheduler.db.accounts import Account
    from portfolio_scheduler.db.reads.accounts import BatchRow, FindingRow
    from portfolio_scheduler.domain.records import Owner

OneAccount = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Label of an account, or the beginning of its id.")]

# What each login needs, in the order in which it is asked for: field of the credentials, words for people.
SECRETS = {
    Login.TOTP: (("api_key", "API key (the TOTP token of Groww's API page)"), ("totp_secret", "TOTP secret")),
    Login.APPROVAL: (("api_key", "API key"), ("api_secret", "API secret")),
    Login.TOKEN: (("access_token", "Access token"),),
}

accounts = typer.Typer(help="Connect broker accounts, look at them, try their logins.", no_args_is_help=True)


@accounts.command()
def add(
    label: Annotated[str | None, typer.Option(help="What you call the account. Asked for if left out.")] = None,
    broker: Annotated[str, typer.Option(help="The broker.")] = "groww",
    login: Annotated[
        Login,
        typer.Option(
            help="totp renews by itself; approval needs your approval at the broker each day; token is pasted each day."
        ),
    ] = Login.TOTP,
    secrets_file: Annotated[
        Path | None, typer.Option(help="Read the secrets from this file, a line each in the order asked for.")
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the secrets from stdin, a line each.")] = False,
    user: Annotated[str | None, typer.Option(help="Whose it is. Left out: the only user's.")] = None,
) -> None:
    """Connect an account. Its secrets are asked for unseen, tried, and kept (encrypted) only if they work."""
    from portfolio_scheduler.cli.render import ist_time

    label = label or _asked_label(stdin=stdin)
    credentials = _asked(login, secrets_file, stdin=stdin)
    account = run(lambda app: _connect(app, broker, label, credentials, user))
    until = f", login valid until {ist_time(account.token_expires_at)}" if account.token_expires_at else ""
    typer.echo(f"Connected {account.label!r}: {broker} account {account.ucc} ({', '.join(account.segments)}){until}.")
    typer.echo(f"Next: portfolio-scheduler sync {_quoted(account.label)}")


def _asked_label(*, stdin: bool) -> str:
    if stdin or not sys.stdin.isatty():
        raise InvalidInput("What is the account to be called? Give --label.")
    return str(typer.prompt("What do you call the account?"))


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)


def _asked(login: Login, file: Path | None, *, stdin: bool) -> "Credentials":
    from portfolio_scheduler.brokers.broker import Credentials
    from portfolio_scheduler.cli.render import ask_secrets

    fields = SECRETS[login]
    secrets = ask_secrets([words for _, words in fields], file, stdin=stdin)
    given = {name: secret for (name, _), secret in zip(fields, secrets, strict=True)}
    return Credentials(login=login, **given)


async def _connect(app: "App", broker: str, label: str, credentials: "Credentials", user: str | None) -> "Account":
    from portfolio_scheduler.cli.users import found
    from portfolio_scheduler.sync.connect import connect

    if user is not None:
        await found(app, user)
    return await connect(app, broker=broker, label=label, credentials=credentials, user=user)


@accounts.command()
def login(
    account: OneAccount,
    method: Annotated[
        Login | None, typer.Option("--login", help="totp, approval or token. Left out: as it was.")
    ] = None,
    secrets_file: Annotated[
        Path | None, typer.Option(help="Read the secrets from this file, a line each in the order asked for.")
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the secrets from stdin, a line each.")] = False,
) -> None:
    """Give an account new secrets. They are tried first; those of another broker account are refused."""
    from portfolio_scheduler.cli.render import ist_time

    if method is None:
        method = Login(run(lambda app: _open_account(app, account)).login)
    credentials = _asked(method, secrets_file, stdin=stdin)
    changed = run(lambda app: _change_login(app, account, credentials))
    until = f", valid until {ist_time(changed.token_expires_at)}" if changed.token_expires_at else ""
    typer.echo(f"{changed.label}: the new login ({changed.login}) works and is saved{until}.")


async def _open_account(app: "App", account: str) -> "Account":
    from portfolio_scheduler.sync.ownership import checked_open

    [one] = await chosen(app, account)
    return checked_open(one)


async def _change_login(app: "App", account: str, credentials: "Credentials") -> "Account":
    from portfolio_scheduler.sync.connect import change_login

    return await change_login(app, await _open_account(app, account), credentials)


@accounts.command()
def pause(account: OneAccount) -> None:
    """Stop an account's schedule until it is resumed. Days that pass meanwhile cannot be read later."""
    from portfolio_scheduler.sync import ownership

    label, done = run(lambda app: _switched(app, account, ownership.pause))
    typer.echo(f"{label}: paused; its days are not read until `accounts resume`." if done else f"{label}: is paused.")


@accounts.command()
def resume(account: OneAccount) -> None:
    """Take an account's schedule up again."""
    from portfolio_scheduler.sync import ownership

    label, done = run(lambda app: _switched(app, account, ownership.resume))
    typer.echo(f"{label}: resumed." if done else f"{label}: is not paused.")


async def _switched(app: "App", account: str, switch: "Callable[[App, UUID], Awaitable[bool]]") -> tuple[str, bool]:
    one = await _open_account(app, account)
    return one.label, await switch(app, one.id)


@accounts.command()
def remove(
    account: OneAccount,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. Needed where there is no terminal.")] = False,
) -> None:
    """Close an account: its secrets are destroyed and its schedule stops; its history is kept and stays readable."""
    one = run(lambda app: _open_account(app, account))
    if not yes:
        _confirmed(one)
    ended = run(lambda app: _close(app, one.id))
    batch = f" Batch {ended}, which was open, has been ended." if ended else ""
    typer.echo(
        f"Removed {one.label!r}: its secrets are destroyed, nothing is read any more.{batch} Its history stays: "
        f"portfolio-scheduler accounts show {one.id}"
    )


def _confirmed(account: "Account") -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("Removing an account cannot be undone. Give --yes to do it without being asked.")
    typer.confirm(
        f"Destroy the secrets of {account.label!r} ({account.broker} {account.ucc}) and stop reading it for ever? Its "
        "history is kept.",
        abort=True,
    )


async def _close(app: "App", account_id: "UUID") -> "UUID | None":
    from portfolio_scheduler.sync import ownership

    return await ownership.close(app, account_id)


@accounts.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """Print all accounts with their last sync and when they are due next."""
    from portfolio_scheduler.cli.render import Column, Kind, console, print_json, print_table
    from portfolio_scheduler.cli.standing import login_in_words, outcome

    found = run(_all)
    if as_json:
        print_json({"accounts": found})
    elif not found:
        typer.echo(NO_ACCOUNTS)
    else:
        columns = (
            Column("Account"),
            Column("Broker"),
            Column("Client"),
            Column("Login"),
            Column("State"),
            Column("Last sync"),
            Column("at", Kind.INSTANT),
            Column("Next due", Kind.INSTANT),
        )
        rows = [
            (
                one.account,
                one.broker,
                one.ucc,
                login_in_words(one),
                one.state,
                outcome(one),
                one.last_batch.finished_at if one.last_batch else None,
                one.next_due_at,
            )
            for one in found
        ]
        print_table(console(), columns, rows)


async def _all(app: "App") -> "list[Standing]":
    from portfolio_scheduler.cli.standing import standings
    from portfolio_scheduler.db import accounts as table
    from portfolio_scheduler.db.pool import transaction

    async with transaction(app.pool) as tx:
        return await standings(app, tx, [account.id for account in await table.listed(tx)])


@accounts.command()
def show(account: OneAccount, as_json: JsonOption = False) -> None:
    """Print one account: where it stands, its last syncs, and what is odd about it. Never a secret."""
    from portfolio_scheduler.cli.render import console, print_json
    from portfolio_scheduler.cli.standing import print_batches, print_findings, print_standing

    standing, batches, findings = run(lambda app: _one(app, account))
    if as_json:
        print_json({"account": standing, "batches": batches, "findings": findings})
        return
    print_standing(console(), standing)
    print_batches(console(), batches)
    print_findings(console(), findings)


async def _one(app: "App", account: str) -> "tuple[Standing, list[BatchRow], list[FindingRow]]":
    from portfolio_scheduler.cli.standing import standings
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads import accounts as reads

    [one] = await chosen(app, account)
    async with transaction(app.pool) as tx:
        [standing] = await standings(app, tx, [one.id])
        return standing, await reads.recent_batches(tx, one.id, 10), await reads.open_findings(tx, [one.id])


@accounts.command(name="test")
def try_(
    account: Annotated[
        str | None, typer.Argument(metavar="[ACCOUNT]", help="Label or beginning of an id. Left out: all accounts.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Try the kept login of each account at the broker now. Exit code 1 if one does not work."""
    from portfolio_scheduler.cli.render import print_json

    results = run(lambda app: _probes(app, account))
    if as_json:
        print_json({"accounts": [_tried(label, said) for label, said in results]})
    elif not results:
        typer.echo(NO_ACCOUNTS)
    else:
        for label, said in results:
            words = said if isinstance(said, str) else f"works: account {said.ucc} ({', '.join(said.segments)})"
            typer.echo(f"{label}: {words}")
    if any(isinstance(said, str) for _, said in results):
        raise typer.Exit(1)


def _tried(label: str, said: "Owner | str") -> dict[str, object]:
    works = not isinstance(said, str)
    return {"account": label, "ok": works, "reason": None if works else said}


async def _probes(app: "App", account: str | None) -> "list[tuple[str, Owner | str]]":
    """For each account who the broker says it is, or why the login does not work."""
    from portfolio_scheduler.sync.connect import probe

    results: list[tuple[str, Owner | str]] = []
    for one in await chosen(app, account):
        try:
            results.append((one.label, await probe(app, one)))
        except BrokerError as error:
            results.append((one.label, error.message))
    return results
