"""How changes and the story of one order are told. Used by `changes` and by the demo."""

from collections.abc import Sequence

from rich.console import Console

from portfolio_scheduler.cli.render import Column, Kind, ist_time, print_table, trail
from portfolio_scheduler.db.reads.changes import ChangeRow
from portfolio_scheduler.db.reads.orders import OrderRow
from portfolio_scheduler.domain import changes
from portfolio_scheduler.domain.money import ZERO, rupees, units

WORDS = {
    changes.PLACED: "placed",
    changes.ADDED: "bought",
    changes.REMOVED: "sold",
    changes.MODIFIED: "modified",
    changes.CANCELLED: "cancelled",
    changes.STATUS: "status",
    changes.REGRESSED: "went back",
}

# Seen for the first time in one of these, an order's next steps say so.
TOLD_BY_LATER_STEPS = frozenset({"EXECUTED", "DELIVERY_AWAITED", "COMPLETED", "CANCELLED"})


def print_changes(to: Console, found: Sequence[ChangeRow], *, title: str | None = None) -> None:
    """Changes of orders and holdings as a table."""
    columns = (
        Column("Account"),
        Column("Seen", Kind.INSTANT),
        Column("Symbol"),
        Column("What"),
        Column("Units", Kind.QUANTITY),
        Column("In words"),
        Column("Order"),
    )
    rows = [
        (
            row.account,
            row.observed_at,
            row.trading_symbol,
            f"holding {row.change_type.replace('_', ' ')}" if row.kind == "holding" else row.change_type,
            row.quantity_delta or None,
            in_words(row),
            row.broker_order_id,
        )
        for row in found
    ]
    print_table(to, columns, rows, title=title)


def order_trail(order: OrderRow, steps: Sequence[ChangeRow], width: int) -> str:
    """The story of one order in two lines; `steps` oldest first."""
    at = f", placed {ist_time(order.created_at)}" if order.created_at else ""
    title = (
        f"{order.account}: {order.side} {units(order.quantity)} {order.trading_symbol}{at} ({order.broker_order_id})"
    )
    return trail(title, [in_words(step) for step in steps], width)


def in_words(row: ChangeRow) -> str:
    """One change in a few words."""
    if row.kind == "holding":
        return _holding_in_words(row)
    words = WORDS.get(row.change_type, row.change_type.lower())
    if row.change_type == changes.PLACED:
        standing = "" if row.status_after in TOLD_BY_LATER_STEPS else f", {row.status_after}"
        return f"{words} {units(row.quantity_after)}{_at(row)}{standing}"
    if row.change_type in {changes.ADDED, changes.REMOVED}:
        average = f", average {rupees(row.average_fill_price_after)}" if row.average_fill_price_after else ""
        filled = f"{units(row.filled_after)} of {units(row.quantity_after)}" if row.filled_after is not None else ""
        return f"{words} {units(abs(row.quantity_delta))} ({filled}{average})"
    if row.change_type == changes.MODIFIED:
        return f"{words}: {_modified(row)}"
    if row.change_type == changes.CANCELLED:
        filled = units(row.filled_after) if row.filled_after is not None else "0"
        return f"{words} with {filled} of {units(row.quantity_after)} filled"
    return f"{words} {row.status_before or 'unknown'} → {row.status_after or 'unknown'}"


def _at(row: ChangeRow) -> str:
    return f" at {rupees(row.price_after)}" if row.price_after else " at market"


def _modified(row: ChangeRow) -> str:
    parts = []
    if row.quantity_before is not None and row.quantity_before != row.quantity_after:
        parts.append(f"quantity {units(row.quantity_before)} → {units(row.quantity_after)}")
    for name, before, after in (
        ("price", row.price_before, row.price_after),
        ("trigger", row.trigger_price_before, row.trigger_price_after),
    ):
        if before != after:
            parts.append(f"{name} {rupees(before) if before else '–'} → {rupees(after) if after else '–'}")
    return ", ".join(parts) or "other fields"


def _holding_in_words(row: ChangeRow) -> str:
    same = row.quantity_before == row.quantity_after
    words = f"still {units(row.quantity_after)}" if same else f"{units(row.quantity_before or ZERO)} → "
    words += "" if same else units(row.quantity_after)
    if row.price_before != row.price_after and row.price_before and row.price_after:
        words += f", average {rupees(row.price_before)} → {rupees(row.price_after)}"
    return words
