"""Whether an answer would be the same as before: one short text that moves whenever anything moves that answers are
made of. It travels with the read itself, and what it stands for is read only where it is another than those known.
"""

from typing import LiteralString

# Of an account `a` with its head `h`. Facts move the head; a batch that ends without facts shows in the newest one's
# status (a claim raises the fence, and one batch at most is open); prices are shared and counted by themselves.
_VERSION: LiteralString = """concat_ws('.', a.id, h.seq, h.fence,
    (SELECT b.status FROM sync_batches b WHERE b.account_id = a.id ORDER BY b.fence DESC, b.id DESC LIMIT 1),
    (SELECT sum(p.writes) FROM price_writes p), a.state, array_to_string(a.segments, ','), a.label)"""

_OF_ONE: LiteralString = """
    SELECT a.id, md5({version}) AS version
    FROM broker_accounts a LEFT JOIN account_heads h ON h.account_id = a.id WHERE a.id = %(account)s
""".replace("{version}", _VERSION)
_OF_MANY: LiteralString = """
    SELECT md5(coalesce(string_agg(v.version, '|' ORDER BY v.id), '')) AS version FROM (
        SELECT a.id, {version} AS version
        FROM broker_accounts a LEFT JOIN account_heads h ON h.account_id = a.id WHERE {which}) v
""".replace("{version}", _VERSION)
SEEN_BY_VIEWER: LiteralString = "(%(account)s::uuid IS NULL OR a.id = %(account)s)"
OF_VIEWER: LiteralString = "a.user_id = (SELECT app_user()) AND a.state <> 'closed'"

_GATED: LiteralString = """
WITH asked AS MATERIALIZED ({version})
SELECT q.version, CASE WHEN q.version <> ALL (%(known)s::text[]) THEN ({document}) END FROM asked q
"""


def of_account(document: LiteralString) -> LiteralString:
    """The version of one account, and the document where the version is none of those known. No row: no account."""
    return _GATED.replace("{version}", _OF_ONE).replace("{document}", document)


def of_accounts(document: LiteralString, which: LiteralString) -> LiteralString:
    """The same of all accounts `a` for which a condition holds."""
    return _GATED.replace("{version}", _OF_MANY.replace("{which}", which)).replace("{document}", document)
