"""Row-level security: which rows the API sees and writes, table by table. `migrate` sets it anew each time.

The worker sees every row. The API sees those of the person its transaction says it is about (`enter_session` of the
migration `people`), and without such a word none: it is the second wall behind the routes' own filters. It is forced,
so that the owner of the tables is no way around it.
"""

from collections.abc import Iterator, Mapping, Sequence

from psycopg.sql import SQL, Composed, Identifier

from portfolio_scheduler.errors import PortfolioSchedulerError

# The subqueries are evaluated once for a statement, not once for a row. What others share is behind functions of the
# migration `reads`: written out it stands in every read a dozen times, and setting that up costs more than reading.
ME = "(SELECT app_user())"
SHARED_WITH_ME = "(SELECT app_owners())::uuid[]"
MY_ACCOUNTS = "ARRAY(SELECT a.id FROM broker_accounts a WHERE a.user_id = (SELECT app_user()))"
SEEN_ACCOUNTS = "(SELECT app_accounts())::uuid[]"

# Before a login all rows of people are reached; after it only one's own, but by an admin who changes somebody's login.
AT_THE_DOOR = "(SELECT app_door() = 'identity' AND (app_user() IS NULL OR app_role() = 'admin'))"
MY_LOGIN = f"(id = {ME} AND (SELECT app_door()) = 'identity')"
CHECKING = "(SELECT app_door()) IN ('session', 'identity')"
ADMIN = "(SELECT app_door()) = 'admin'"
# Whoever asks something of an account is told if there is room, which the requests of all say.
COUNTING = "(SELECT app_door()) = 'room'"


class Policy:
    """What one kind of statement may reach of one table."""

    def __init__(self, command: str, *, sees: str | None = None, writes: str | None = None) -> None:
        self.command, self.sees, self.writes = command, sees, writes


def _own(column: str, *, read: str = CHECKING) -> tuple[Policy, ...]:
    """Rows of a person: theirs, and everybody's while somebody logs in or out."""
    mine = f"{column} = {ME} OR {AT_THE_DOOR}"
    return (
        Policy("SELECT", sees=f"{column} = {ME} OR {read}"),
        Policy("INSERT", writes=mine),
        Policy("UPDATE", sees=mine, writes=mine),
        Policy("DELETE", sees=mine),
    )


def _read_by_account(column: str = "account_id") -> tuple[Policy, ...]:
    return (Policy("SELECT", sees=f"{column} = ANY ({SEEN_ACCOUNTS})"),)


# Of a condition written out the planner believes that hardly a row meets it, on top of the question's own condition on
# the account, and then reads and sorts all batches of an account to find its newest. Of a CASE it believes nothing.
BATCHES_SEEN = f"CASE WHEN {ADMIN} THEN true ELSE account_id = ANY ({SEEN_ACCOUNTS}) END"


POLICIES: dict[str, tuple[Policy, ...]] = {
    "users": (
        Policy("SELECT", sees=f"id = {ME} OR {CHECKING} OR {ADMIN}"),
        Policy("INSERT", writes=AT_THE_DOOR),
        Policy(
            "UPDATE", sees=f"{MY_LOGIN} OR {AT_THE_DOOR} OR {ADMIN}", writes=f"{MY_LOGIN} OR {AT_THE_DOOR} OR {ADMIN}"
        ),
    ),
    "sessions": _own("user_id"),
    "api_tokens": _own("user_id"),
    "recovery_codes": _own("user_id", read=AT_THE_DOOR),
    "socket_tickets": _own("user_id", read=AT_THE_DOOR),
    "idempotency_keys": _own("user_id", read=AT_THE_DOOR),
    "invitations": (Policy("ALL", sees=f"{AT_THE_DOOR} OR {ADMIN}", writes=f"{AT_THE_DOOR} OR {ADMIN}"),),
    "attempts": (Policy("ALL", sees="true", writes="true"),),  # counters without content
    "viewer_grants": (
        Policy("SELECT", sees=f"owner_id = {ME} OR viewer_id = {ME}"),
        Policy("INSERT", writes=f"owner_id = {ME}"),
        Policy("UPDATE", sees=f"owner_id = {ME} OR viewer_id = {ME}", writes=f"owner_id = {ME} OR viewer_id = {ME}"),
    ),
    "access_log": (
        Policy("SELECT", sees=f"actor_id = {ME} OR subject_id = {ME} OR {ADMIN}"),
        Policy("INSERT", writes="true"),  # what happened may always be said; it is never changed
    ),
    "account_requests": (
        Policy("SELECT", sees=f"user_id = {ME} OR {COUNTING}"),
        Policy("INSERT", writes=f"user_id = {ME}"),
        Policy("UPDATE", sees=f"user_id = {ME}", writes=f"user_id = {ME}"),
    ),
    "broker_accounts": (
        Policy("SELECT", sees=f"user_id = {ME} OR user_id = ANY ({SHARED_WITH_ME}) OR {ADMIN}"),
        Policy("INSERT", writes=f"user_id = {ME}"),
        Policy("UPDATE", sees=f"user_id = {ME}", writes=f"user_id = {ME}"),
    ),
    "account_heads": (
        *_read_by_account(),
        Policy("INSERT", writes=f"account_id = ANY ({MY_ACCOUNTS})"),
    ),
    "sync_batches": (
        Policy("SELECT", sees=BATCHES_SEEN),
        Policy("INSERT", writes=f"account_id = ANY ({MY_ACCOUNTS})"),
        Policy("UPDATE", sees=f"account_id = ANY ({MY_ACCOUNTS})", writes=f"account_id = ANY ({MY_ACCOUNTS})"),
    ),
}


def statements(prefix: str, tables: Mapping[str, Sequence[str]]) -> Iterator[Composed]:
    """Secure every table that has an owner; `tables` says the columns of each. One that is forgotten is a bug."""
    for table, columns in sorted(tables.items()):
        policies = POLICIES.get(table) or (_read_by_account() if "account_id" in columns else ())
        if not policies and {"user_id", "owner_id", "actor_id"} & set(columns):
            raise PortfolioSchedulerError(f"{table} has rows of people and no policy; add one to POLICIES.")
        if policies:
            yield from _secure(prefix, table, policies)


def _secure(prefix: str, table: str, policies: Sequence[Policy]) -> Iterator[Composed]:
    name, api, worker = Identifier(table), Identifier(f"{prefix}_api"), Identifier(f"{prefix}_worker")
    yield SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(name)
    yield SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(name)
    yield SQL("DROP POLICY IF EXISTS worker ON {}").format(name)
    yield SQL("CREATE POLICY worker ON {} TO {} USING (true) WITH CHECK (true)").format(name, worker)
    for command in ("all", "select", "insert", "update", "delete"):
        yield SQL("DROP POLICY IF EXISTS {} ON {}").format(Identifier(f"api_{command}"), name)
    for policy in policies:
        yield SQL("CREATE POLICY {} ON {} FOR {} TO {}{}{}").format(
            Identifier(f"api_{policy.command.lower()}"),
            name,
            SQL(policy.command),
            api,
            _clause("USING", policy.sees),
            _clause("WITH CHECK", policy.writes),
        )


def _clause(word: str, condition: str | None) -> SQL:
    return SQL(f" {word} ({condition})" if condition else "")
