"""What was believed at an instant: the facts written by then, less the corrections that came later.

A fact's number says when it was written, better than its times: what a replay understands anew takes the place, and
the times, of what it corrects. Each batch keeps the number that stood when it ended.
"""

from typing import LiteralString

_FACTS: LiteralString = """{view} AS NOT MATERIALIZED (
    SELECT f.* FROM {table} f JOIN known k ON k.account_id = f.account_id AND f.seq <= k.seq
    WHERE NOT EXISTS (SELECT FROM ledger_events c WHERE c.account_id = f.account_id AND c.corrects_seq = f.seq
        AND c.kind = 'CORRECTION' AND c.seq <= k.seq){more}
)"""

# Begins a query about %(account)s: inside it, these names mean what was known at %(known_at)s. A price that was
# written over since is not kept, so it is the later one if it was read by then.
KNOWN: LiteralString = (
    """
WITH known AS MATERIALIZED (
    SELECT b.account_id, max(b.last_seq) AS seq FROM sync_batches b
    WHERE b.account_id = %(account)s AND b.finished_at <= %(known_at)s GROUP BY b.account_id
), {holdings}, {positions}, {fills}, {events}, effective_batches AS NOT MATERIALIZED (
    SELECT b.id, b.account_id, b.trading_on, b.observed_at, b.finished_at, b.fence, b.standing,
        coalesce(r.status, b.status) AS status, coalesce(r.sections, b.sections) AS sections
    FROM sync_batches b JOIN known k ON k.account_id = b.account_id LEFT JOIN LATERAL (
        SELECT r.status, r.sections FROM rereadings r
        WHERE r.account_id = b.account_id AND r.batch_id = b.id AND r.seq <= k.seq
        ORDER BY r.seq DESC LIMIT 1) r ON true
    WHERE b.trigger <> 'replay' AND b.finished_at <= %(known_at)s
), portfolio_snapshots AS NOT MATERIALIZED (
    SELECT s.* FROM portfolio_snapshots s JOIN known k ON k.account_id = s.account_id AND s.seq <= k.seq
), closing_prices AS NOT MATERIALIZED (
    SELECT p.* FROM closing_prices p WHERE p.priced_at <= %(known_at)s
)
""".replace(
        "{holdings}",
        _FACTS.replace("{view}", "effective_holding_changes")
        .replace("{table}", "holding_changes")
        .replace("{more}", ""),
    )
    .replace(
        "{positions}",
        _FACTS.replace("{view}", "effective_position_changes")
        .replace("{table}", "position_changes")
        .replace("{more}", ""),
    )
    .replace(
        "{fills}",
        _FACTS.replace("{view}", "effective_order_fills").replace("{table}", "order_fills").replace("{more}", ""),
    )
    .replace(
        "{events}",
        _FACTS.replace("{view}", "effective_ledger_events")
        .replace("{table}", "ledger_events")
        .replace("{more}", " AND f.kind <> 'CORRECTION'"),
    )
)
