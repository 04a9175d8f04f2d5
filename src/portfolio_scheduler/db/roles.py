"""The two roles that run the product, `<prefix>_api` and `<prefix>_worker`, and what each may do.

What a role may do with a table follows from the table's kind, which stands first in its comment; a new table needs no
line here, unless the API writes to it. Columns called `sealed_…` hold secrets and are not shown to the API, which
could not open them anyway.
"""

from collections.abc import Iterator, Sequence

import msgspec
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Composed, Identifier, Literal

from portfolio_scheduler.db import passwords, row_security
from portfolio_scheduler.db.pool import Role
from portfolio_scheduler.db.server import Connection, connected
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings

ROLES: tuple[Role, ...] = ("api", "worker")
OURS = "portfolio-scheduler: "  # begins the comment of a role that we made
SEALED = "sealed_"

READ, ADD, ALTER = ("SELECT",), ("SELECT", "INSERT"), ("SELECT", "INSERT", "UPDATE")
ALL = (*ALTER, "DELETE")
WORKER_MAY = {
    "fact": ADD,
    "log": ADD,
    "control": ALTER,
    "people": ALL,
    "derived": ALL,
    "reference": ALL,
    "view": READ,
    "queue": ALL,
}
API_MAY = dict.fromkeys(WORKER_MAY, READ) | {"log": ADD, "people": ALL}
# What the API writes besides: requests to the worker, syncs to be run, and accounts that its owner wants untested.
API_MAY_ALSO = {
    "users": "INSERT, UPDATE",
    "account_requests": "INSERT, UPDATE (status, reason, ended_at, sealed_credentials)",
    "account_heads": "INSERT (account_id)",
    "sync_batches": "INSERT (id, account_id, trigger, wanted, status, queued_at), UPDATE (wanted)",
    "broker_accounts": "INSERT (id, user_id, broker, broker_account_id, label, login, sealed_credentials, "
    "credentials_number, credentials_fingerprint, credentials_at, schedules, late_pass, planned_through, created_at)",
}
KINDS = frozenset(WORKER_MAY) - {"queue"}


class Relation(msgspec.Struct, frozen=True):
    """A table or view with its kind and columns."""

    name: str
    kind: str
    columns: tuple[str, ...]


def conninfo(owner_conninfo: str, settings: Settings, role: Role) -> str:
    """The connection string of a role. Asks the database for its name and the key folder for its password."""
    with connected(owner_conninfo) as connection:
        return conninfo_over(connection, owner_conninfo, settings, role)


def conninfo_over(connection: Connection, owner_conninfo: str, settings: Settings, role: Role) -> str:
    """The same over a connection of the owner's that is open already."""
    section, prefix = install(connection)
    name = f"{prefix}_{role}"
    password = passwords.known(settings, section, name)
    if password is None:
        raise SetupProblem(_lost_password(settings, name))
    return make_conninfo(owner_conninfo, user=name, password=password)


def install(connection: Connection) -> tuple[str, str]:
    """This installation: its section in the password file, and the prefix of its roles."""
    try:
        row = connection.execute("SELECT install_id, role_prefix FROM install").fetchone()
    except errors.UndefinedTable:
        row = None
    if row is None:
        raise SetupProblem("The database has no tables of the product yet; run `portfolio-scheduler migrate`.")
    return f"install {row[0]}", row[1]


def apply(connection: Connection, settings: Settings, *, reset_passwords: bool = False) -> None:
    """Make the roles and give each what it may do, no more. May run again and again; the caller commits."""
    try:
        _apply(connection, settings, reset_passwords=reset_passwords)
    except errors.InsufficientPrivilege as error:
        raise SetupProblem(
            f'The role "{connection.info.user}" may not set up the product\'s roles ({error.diag.message_primary}); '
            "use in DATABASE_URL the role that set them up first, or drop them to have them made anew."
        ) from error


def _apply(connection: Connection, settings: Settings, *, reset_passwords: bool) -> None:
    section, prefix = install(connection)
    for role in ROLES:
        _ensure(connection, settings, section, f"{prefix}_{role}", reset_passwords=reset_passwords)
    relations = find_relations(connection)
    for statement in _grants(connection, prefix, relations):
        connection.execute(statement)
    tables = {relation.name: relation.columns for relation in relations if relation.kind not in {"view", "queue"}}
    for statement in row_security.statements(prefix, tables):
        connection.execute(statement)


def _ensure(connection: Connection, settings: Settings, section: str, name: str, *, reset_passwords: bool) -> None:
    """The role exists, is harmless, and its password is the kept one."""
    found = connection.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [name]
    ).fetchone()
    if found is not None and not (found[0] or "").startswith(OURS):
        raise SetupProblem(
            f'The server has a role "{name}" that the product did not make; rename it: '
            f'ALTER ROLE "{name}" RENAME TO "{name}_other";'
        )
    if found is not None and passwords.known(settings, section, name) is None and not reset_passwords:
        raise SetupProblem(_lost_password(settings, name))
    if found is None:
        connection.execute(SQL("CREATE ROLE {}").format(Identifier(name)))
        comment = f"{OURS}runs {connection.info.dbname}"
        connection.execute(SQL("COMMENT ON ROLE {} IS {}").format(Identifier(name), Literal(comment)))
    if found is None or reset_passwords:
        _set_password(connection, name, passwords.known_or_new(settings, section, name))
    connection.execute(SQL("ALTER ROLE {} LOGIN NOCREATEROLE").format(Identifier(name)))
    _check_harmless(connection, name)


def _set_password(connection: Connection, name: str, password: str) -> None:
    """Sent already hashed, so that no log of the server ever shows it."""
    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(name), Literal(hashed)))


def _check_harmless(connection: Connection, name: str) -> None:
    """An owner may not take these away from a role, only refuse to go on."""
    row = connection.execute(
        "SELECT rolsuper OR rolbypassrls OR rolcreatedb FROM pg_roles WHERE rolname = %s", [name]
    ).fetchone()
    if row is None or row[0]:
        raise SetupProblem(
            f'The role "{name}" is a superuser, bypasses row security or may create databases; the product\'s roles '
            f'must not: run as an administrator: ALTER ROLE "{name}" NOSUPERUSER NOBYPASSRLS NOCREATEDB;'
        )


def find_relations(connection: Connection) -> list[Relation]:
    """Every table and view of the product with its kind; one that does not state its kind is a bug."""
    rows = connection.execute(
        """SELECT c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''),
                  (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
                   WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
           FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
           ORDER BY c.relname"""
    ).fetchall()
    return [Relation(name, kind_of(name, comment), tuple(columns)) for name, comment, columns in rows]


def kind_of(name: str, comment: str) -> str:
    """A relation's kind, from its comment; the queue's and Alembic's tables are not ours to comment."""
    if name.startswith("procrastinate_"):
        return "queue"
    if name == "alembic_version":
        return "view"  # to be read: a process sees whether the database is of its release
    kind = comment.partition(":")[0]
    if kind not in KINDS:
        raise AssertionError(f"{name} must begin its comment with one of {', '.join(sorted(KINDS))} and a colon")
    return kind


def _grants(connection: Connection, prefix: str, relations: Sequence[Relation]) -> Iterator[Composed]:
    """First everything is taken away, so that what an older release granted does not stay."""
    api, worker = Identifier(f"{prefix}_api"), Identifier(f"{prefix}_worker")
    database = Identifier(connection.info.dbname)
    for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
        yield SQL("REVOKE ALL ON ALL {} IN SCHEMA public FROM PUBLIC, {}, {}").format(SQL(kind), api, worker)
    yield SQL("REVOKE ALL ON SCHEMA public FROM PUBLIC, {}, {}").format(api, worker)
    yield SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database)
    yield SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(database, api, worker)
    yield SQL("GRANT USAGE ON SCHEMA public TO {}, {}").format(api, worker)
    for relation in relations:
        yield _grant(WORKER_MAY[relation.kind], relation.name, worker)
        yield from _api_grants(relation, api)
    yield SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(worker)
    for sequence in ("procrastinate_jobs_id_seq", "procrastinate_events_id_seq"):
        yield SQL("GRANT USAGE ON SEQUENCE {} TO {}").format(Identifier(sequence), api)
    # Functions that run with their caller's rights give nobody more than they have. Others are granted one by one.
    for function in _invoker_functions(connection):
        yield SQL("GRANT EXECUTE ON ROUTINE {} TO {}, {}").format(function, api, worker)


def _grant(rights: Sequence[str], table: str, role: Identifier) -> Composed:
    return SQL("GRANT {} ON {} TO {}").format(SQL(", ".join(rights)), Identifier(table), role)


def _api_grants(relation: Relation, api: Identifier) -> Iterator[Composed]:
    if relation.kind == "queue":
        yield from _api_queue_grants(relation.name, api)
    elif any(column.startswith(SEALED) for column in relation.columns):
        shown = [Identifier(column) for column in relation.columns if not column.startswith(SEALED)]
        yield SQL("GRANT SELECT ({}) ON {} TO {}").format(SQL(", ").join(shown), Identifier(relation.name), api)
    else:
        yield _grant(API_MAY[relation.kind], relation.name, api)
    if also := API_MAY_ALSO.get(relation.name):
        yield SQL("GRANT {} ON {} TO {}").format(SQL(also), Identifier(relation.name), api)


def _api_queue_grants(table: str, api: Identifier) -> Iterator[Composed]:
    """What deferring a job needs and no more: the API never sees what is queued for others."""
    if table == "procrastinate_jobs":
        yield SQL("GRANT INSERT, SELECT (id) ON {} TO {}").format(Identifier(table), api)
    if table == "procrastinate_events":
        yield SQL("GRANT INSERT ON {} TO {}").format(Identifier(table), api)


def _invoker_functions(connection: Connection) -> list[SQL]:
    rows = connection.execute(
        """SELECT oid::regprocedure::text FROM pg_proc
           WHERE pronamespace = 'public'::regnamespace AND NOT prosecdef AND prokind <> 'a' ORDER BY 1"""
    ).fetchall()
    return [SQL(signature) for (signature,) in rows]


def _lost_password(settings: Settings, name: str) -> str:
    if settings.database_url is None:
        return (
            f'{passwords.path(settings)} has no password for the role "{name}" of the embedded database; '
            "run `portfolio-scheduler migrate`, which sets a new one."
        )
    return (
        f'The role "{name}" exists, but {passwords.path(settings)} has no password for it: copy that file from the '
        "machine that set the database up, or run `portfolio-scheduler migrate --reset-passwords`."
    )
