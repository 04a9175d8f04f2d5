"""Whether an answer would be the same as before: one short text that moves whenever anything moves that answers are
made of. It travels with the read itself, and what it stands for is read only where it is another than those known.
"""

from typing import LiteralString

from portfolio_scheduler.db.gated import Gated

# Of an account `a` with its head `h`. Facts move the head; a batch that ends without facts shows in the newest one's
# status (a claim raises the fence, and one batch at most is open); prices are shared and counted by themselves.
_VERSION: LiteralString = """concat_ws('.', a.id, h.seq, h.fence,
    (SELECT b.status FROM sync_batches b WHERE b.account_id = a.id ORDER BY b.fence DESC, b.id DESC LIMIT 1),
    (SELECT sum(p.writes) FROM price_writes p), a.state, array_to_string(a.segments, ','), a.label)"""

_OF_ONE: LiteralString = """
    SELECT a.id, md5({version}) AS version
    FROM broker_accounts a LEFT JOIN account_heads h ON h.account_id = a.id WHERE a.id = %(account)s
""".replace("{version}", _VERSION.replace("account_id = a.id", "account_id = %(account)s"))
_OF_MANY: LiteralString = """
    SELECT md5(coalesce(string_agg(v.version, '|' ORDER BY v.id), '')) AS version FROM (
        SELECT a.id, {version} AS version
        FROM broker_accounts a LEFT JOIN account_heads h ON h.account_id = a.id WHERE {which}) v
""".replace("{version}", _VERSION)
SEEN_BY_VIEWER: LiteralString = "(%(account)s::uuid IS NULL OR a.id = %(account)s)"
OF_VIEWER: LiteralString = "a.user_id = (SELECT app_user()) AND a.state <> 'closed'"

_ASK: LiteralString = """
SELECT q.version, answer_unless(%(known)s::text[], q.version, %(question)s::text, %(given)s::text[])
FROM ({version}) q
"""


def of_account(document: LiteralString) -> Gated:
    """The version of one account, and the document where the version is none of those known. No row: no account."""
    return Gated(_ASK.replace("{version}", _OF_ONE), document)


def of_accounts(document: LiteralString, which: LiteralString) -> Gated:
    """The same of all accounts `a` for which a condition holds."""
    return Gated(_ASK.replace("{version}", _OF_MANY.replace("{which}", which)), document)
