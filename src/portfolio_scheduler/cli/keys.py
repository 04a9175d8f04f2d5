"""`keys`: look at the keys of sealed secrets, rotate, rewrap and retire them. No command prints a key."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from portfolio_scheduler.cli.running import JsonOption, prepared, present, run
from portfolio_scheduler.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from portfolio_scheduler.app import App
    from portfolio_scheduler.db.sealed import KeyUse
    from portfolio_scheduler.sync.rewrapping import Rewrapped

keys = typer.Typer(help="The keys of sealed secrets: look at them, rotate, rewrap, retire.", no_args_is_help=True)

MISSING = "missing"  # no file holds it


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a key."""

    id: str
    state: str  # active, decrypt-only, retired, missing
    made_at: datetime | None  # of a key of `vault.key` nobody knows
    age_days: int | None
    secrets: int  # that are sealed to it


@keys.command()
def status(as_json: JsonOption = False) -> None:
    """Print every key with its state, its age and how many secrets are sealed to it."""
    from portfolio_scheduler.cli.render import Column, Kind, console, print_json, print_table

    found, warnings = run(_status)
    if as_json:
        print_json({"keys": found, "warnings": warnings})
        return
    columns = (
        Column("Key"),
        Column("State"),
        Column("Made", Kind.INSTANT),
        Column("Days", Kind.QUANTITY),
        Column("Secrets", Kind.QUANTITY),
    )
    print_table(
        console(),
        columns,
        [(one.id, one.state, one.made_at, one.age_days, one.secrets) for one in found],
    )
    for warning in warnings:
        typer.echo(warning, err=True)


async def _status(app: "App") -> tuple[list[KeyRow], list[str]]:
    from portfolio_scheduler import keyring
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.sealed import uses

    async with transaction(app.pool) as tx:
        used = await uses(tx)
    now = app.clock.now()
    held = keyring.read_sealing(app.settings).keys
    old = [warning for key in held if (warning := keyring.too_old(key, now))]
    known: dict[str, tuple[str, datetime | None]] = {key.id: (key.state.value, key.made_at) for key in held}
    old_key = keyring.read_old_key(app.settings)
    if old_key is not None:
        known[keyring.old_key_id(old_key)] = (keyring.State.DECRYPT_ONLY.value, None)
    missing: dict[str, tuple[str, datetime | None]] = {
        use.key_id: (MISSING, None) for use in used if use.key_id not in known
    }
    listed = [_row(key_id, state, made_at, now, used) for key_id, (state, made_at) in (known | missing).items()]
    return listed, [*old, *(warning for one in listed if (warning := _warning(one)))]


def _row(key_id: str, state: str, made_at: datetime | None, now: datetime, used: "list[KeyUse]") -> KeyRow:
    here = [use for use in used if use.key_id == key_id]
    return KeyRow(
        id=key_id,
        state=state,
        made_at=made_at,
        age_days=None if made_at is None else (now - made_at).days,
        secrets=sum(use.values for use in here),
    )


def _warning(key: KeyRow) -> str | None:
    if key.state in {MISSING, "retired"} and key.secrets:
        return (
            f"{key.secrets} secrets are sealed to key {key.id}, which is {key.state}: they cannot be opened. Restore "
            "the key file that holds it, or enter the credentials of these accounts again."
        )
    if key.state == "decrypt-only":
        if key.secrets:
            return f"{key.secrets} secrets are still sealed to key {key.id}: run `portfolio-scheduler keys rewrap`."
        return f"No secret is sealed to key {key.id} any more: `portfolio-scheduler keys retire {key.id}` destroys it."
    return None


@keys.command()
def rotate() -> None:
    """Make a new key the active one. What was sealed to the one before still opens."""
    before, after = run(_rotate)
    typer.echo(f"Key {after} is active now; {before} only decrypts. What runs takes it up by itself.")
    typer.echo(
        "Next: copy sealing.json to machines that run `serve --no-worker`, then: portfolio-scheduler keys rewrap"
    )


async def _rotate(app: "App") -> tuple[str, str]:
    from portfolio_scheduler import keyring
    from portfolio_scheduler.log import logger

    before = app.vault.active_key_id
    ring = keyring.rotated(app.settings, app.clock.now())
    after = ring.published().active.id
    logger().info("key rotated", key_id=after, before=before)
    return before, after


@keys.command("rotate-signing")
def rotate_signing(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="End the replaced keys now: somebody may have seen one.")
    ] = False,
) -> None:
    """Make a new key that signs access tokens. Tokens of the one before hold until they expire, in ten minutes."""
    from portfolio_scheduler.identity import signing

    settings = prepared()
    new = signing.rotate(settings, present(settings), at_once=at_once)
    before = "Every access token so far is refused from now on" if at_once else "Access tokens of before still hold"
    typer.echo(f"Key {new} signs access tokens now. {before}. What runs takes it up by itself.")
    typer.echo(f"Next: copy {signing.FILE.name} to the other machines that run the web, if there are any.")


@keys.command("rotate-factors")
def rotate_factors() -> None:
    """Make a new key that encrypts the secrets of second factors. What the ones before encrypted still opens."""
    from portfolio_scheduler.identity import factor_box

    settings = prepared()
    new = factor_box.rotate(settings, present(settings))
    typer.echo(f"Key {new} encrypts the secrets of second factors now. What runs takes it up by itself.")
    typer.echo(f"Next: copy {factor_box.FILE.name} to the other machines that run the web, if there are any.")


@keys.command()
def rewrap(as_json: JsonOption = False) -> None:
    """Wrap the data keys of all sealed secrets to the active key, while syncs go on."""
    from portfolio_scheduler.cli.render import print_json

    done = run(_rewrap)
    if as_json:
        print_json(done)
    else:
        typer.echo(f"{done.rewrapped} secrets rewrapped.")
    for reason in done.unreadable:
        typer.echo(reason, err=True)
    if done.left:
        typer.echo(f"{done.left} secrets were in use all the time; run it again.", err=True)
    if done.unreadable or done.left:
        raise typer.Exit(1)


async def _rewrap(app: "App") -> "Rewrapped":
    from portfolio_scheduler.sync.rewrapping import rewrap as rewrap_all

    return await rewrap_all(app)


@keys.command()
def retire(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, or its beginning.")],
    shared: Annotated[
        bool, typer.Option("--shared", help="Also where the key folder serves other installations as well.")
    ] = False,
) -> None:
    """Destroy a key that no secret is sealed to any more. Backups that are older need a copy of it to be of use."""
    retired = run(lambda app: _retire(app, key, shared=shared))
    typer.echo(f"Key {retired} is retired: its private part is destroyed here, and nothing opens with it any more.")


async def _retire(app: "App", beginning: str, *, shared: bool) -> str:
    from portfolio_scheduler import keyring
    from portfolio_scheduler.db import passwords
    from portfolio_scheduler.sync.rewrapping import retire as retire_key

    old_key = keyring.read_old_key(app.settings)
    old_id = None if old_key is None else keyring.old_key_id(old_key)
    ids = [key.id for key in keyring.read_sealing(app.settings).keys if key.state is not keyring.State.RETIRED]
    key_id = _named(beginning.lower(), [*ids, *([old_id] if old_id else [])])
    if not shared and len(passwords.installs(app.settings)) > 1:
        raise Conflict(
            f"The key folder {app.settings.keys} serves more than one installation, and secrets of the others may be "
            "sealed to this key. Rewrap them all (each with its own DATABASE_URL), then give --shared."
        )
    await retire_key(app, key_id)
    return key_id


def _named(beginning: str, ids: list[str]) -> str:
    fitting = [key_id for key_id in ids if key_id.startswith(beginning)]
    if len(fitting) != 1 or len(beginning) < 4:
        raise InvalidInput(
            f"{beginning!r} is the beginning of {len(fitting)} keys in use; give at least 4 digits of one: "
            "`portfolio-scheduler keys status` shows all."
        )
    return fitting[0]
