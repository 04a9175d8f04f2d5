"""Reading over HTTP: the figures are those of the command line, one round trip each, and unchanged answers are 304."""

import csv
import io
import json
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx

from portfolio_scheduler.cli.summary import summarise
from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import counted_statements, transaction
from portfolio_scheduler.db.reads import changes, holdings, orders, positions, snapshots
from portfolio_scheduler.db.reads.coverage import coverage, covered
from portfolio_scheduler.domain.plain_json import encoded
from tests.web.conftest import Person, Site, problem_of

ROOT = "/portfolio-scheduler"
DAYS = [date(2026, 4, day) for day in (20, 21, 22)]


async def days_of(site: Site, account: Account, days: list[date] = DAYS, hours: tuple[int, ...] = (11, 16)) -> None:
    """The account is read at these hours of these days."""
    for day in days:
        for hour in hours:
            if ist(day, hour) >= site.now:  # the site begins at 16:00 of the first
                site.stage.at(day, hour)
                await site.stage.sync(account)


async def asha_with(site: Site, number: int = 2) -> tuple[Person, Account]:
    """Asha, whose account was read three days long; her session began after them."""
    first = site.person("asha")
    account = await site.account_of(first, number)
    await days_of(site, account)
    return site.person("asha"), account


async def good(person: Person, path: str, **params: Any) -> Any:
    answer = await person.get(ROOT + path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def all_pages(person: Person, path: str, **params: Any) -> list[Any]:
    found, cursor = [], None
    while True:
        page = await good(person, path, **params | ({"cursor": cursor} if cursor else {}))
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


def told(thing: object) -> Any:
    """As the command line's --json prints it."""
    return json.loads(encoded(thing))


async def test_the_figures_are_those_of_the_command_line(site: Site) -> None:
    asha, account = await asha_with(site)
    a = account.id
    for as_of in (None, DAYS[1]):
        then = {"as_of": str(as_of)} if as_of else {}
        async with transaction(site.stage.app.pool) as tx:
            held = await holdings.holdings(tx, [a], until_on=as_of)
            lines = await positions.positions(tx, [a], until_on=as_of)
            placed = await orders.orders(tx, [a], until_on=as_of)
        assert len(held) > 1
        assert len(placed) > 3
        assert await all_pages(asha, f"/holdings/{a}", limit=2, **then) == told(held)
        by_symbol = sorted(told(lines), key=lambda line: (line["trading_symbol"], line["segment"], line["exchange"]))
        assert await all_pages(asha, f"/positions/{a}", limit=1, **then) == by_symbol
        assert await all_pages(asha, f"/orders/{a}", limit=2, **then) == told(placed)
        assert await good(asha, f"/summary/{a}", **then) == told(
            await summarise(site.stage.app, account, until_on=as_of)
        )


async def test_the_history_is_that_of_the_command_line(site: Site) -> None:
    asha, account = await asha_with(site)
    a, app = account.id, site.stage.app
    async with transaction(app.pool) as tx:
        done = await orders.fills(tx, [a])
        days = await snapshots.snapshots(tx, [a])
        moved = await changes.changes(tx, [a])
        sessions = app.calendar.sessions(DAYS[0], DAYS[-1])
        known = await coverage(tx, [a], {session.on: session.closes_at for session in sessions})
        story = await changes.trail(tx, a, done[0].broker_order_id)
    assert done
    assert await all_pages(asha, f"/fills/{a}", limit=2) == told(done)
    assert await all_pages(asha, f"/snapshots/{a}", limit=1) == told(days)
    for symbol in {row.trading_symbol for row in moved}:
        expected = told([row for row in moved if row.trading_symbol == symbol])
        assert await all_pages(asha, f"/quantity-changes/{symbol.lower()}", limit=2) == expected
        assert await all_pages(asha, f"/quantity-changes/{symbol}", account_id=str(a)) == expected
    current = app.calendar.trading_on(site.now)
    assert await all_pages(asha, f"/coverage/{a}", limit=2) == told([covered(day, current) for day in known])
    one = await good(asha, f"/orders/{a}/{done[0].broker_order_id}")
    assert one["order"] in await all_pages(asha, f"/orders/{a}")
    assert one["trail"] == told(story)
    assert one["fills"] == told([row for row in reversed(done) if row.broker_order_id == done[0].broker_order_id])


async def test_the_other_direction_is_the_same_rows_backwards(site: Site) -> None:
    asha, account = await asha_with(site)
    async with transaction(site.stage.app.pool) as tx:
        [symbol, *_] = {row.trading_symbol for row in await changes.changes(tx, [account.id])}
    for path in (
        f"/orders/{account.id}",
        f"/fills/{account.id}",
        f"/snapshots/{account.id}",
        f"/quantity-changes/{symbol}",
    ):
        newest = await all_pages(asha, path, limit=3)
        assert await all_pages(asha, path, limit=2, sort="oldest") == newest[::-1], path


READS = ("holdings", "positions", "orders", "fills", "snapshots", "summary", "coverage")


async def test_every_read_is_one_round_trip_and_says_304_until_something_changes(site: Site) -> None:
    asha, account = await asha_with(site)
    async with transaction(site.stage.app.pool) as tx:
        order = (await orders.orders(tx, [account.id]))[0]
    paths = [f"/{name}/{account.id}" for name in READS]
    paths += [
        "/household/summary",
        f"/quantity-changes/{order.trading_symbol}",
        f"/orders/{account.id}/{order.broker_order_id}",
    ]
    tags = {}
    for path in paths:
        with counted_statements() as statements:
            first = await asha.get(ROOT + path)
        assert first.status_code == 200, first.text
        # Who asks and what, and once a connection what it prepares: one pipeline, no BEGIN.
        assert len([text for text in statements.texts if "PREPARE" not in text]) == 1, statements.texts
        tags[path] = first.headers["etag"]
        with counted_statements() as statements:
            again = await asha.get(ROOT + path, headers={"If-None-Match": f'"other", {tags[path]}'})
        assert (again.status_code, again.content, len(statements)) == (304, b"", 1)
        assert again.headers["etag"] == tags[path]
        kept = await asha.get(ROOT + path)
        assert (kept.content, kept.headers["etag"]) == (first.content, tags[path])
    assert len(set(tags.values())) == len(tags)
    await site.stage.sync(account)
    for path in paths:
        later = await asha.get(ROOT + path, headers={"If-None-Match": tags[path]})
        assert later.status_code == 200, path


async def test_whoever_may_read_does_so_after_others_were_refused(site: Site) -> None:
    """Refused is rolled back, and a session that rolled something back knows no statement that it had prepared."""
    asha, account = await asha_with(site)
    ravi, deepa = site.person("ravi"), site.person("deepa")
    await share(site, asha, ravi)
    shut = f"{ROOT}/broker-accounts/{account.id}"
    for name in READS:
        path = f"/{name}/{account.id}"
        own = await good(asha, path)
        assert (await deepa.get(ROOT + path)).status_code == 404
        assert (await ravi.put(shut, json={"label": "mine"})).status_code == 403
        site.place.bodies.resize(0)
        assert await good(ravi, path) == own
        assert await good(asha, path, userId=str(asha.user)) == own
        assert (await deepa.put(shut, json={"label": "mine"})).status_code == 404
        assert (await ravi.get(ROOT + path, params={"userId": str(asha.user)})).status_code == 404
        assert await good(ravi, path) == own


async def test_a_price_alone_changes_the_answer(site: Site) -> None:
    asha, account = await asha_with(site)
    before = await asha.get(f"{ROOT}/holdings/{account.id}")
    row = before.json()["items"][0]
    async with transaction(site.stage.app.pool) as tx:
        await tx.execute(
            "UPDATE closing_prices SET price = price + 1 WHERE instrument_key = %s AND priced_on = %s",
            (row["isin"], row["priced_on"]),
        )
    after = await asha.get(f"{ROOT}/holdings/{account.id}", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert Decimal(after.json()["items"][0]["price"]) == Decimal(row["price"]) + 1


async def test_the_day_alone_changes_the_answer(site: Site) -> None:
    asha, account = await asha_with(site)
    before = await asha.get(f"{ROOT}/summary/{account.id}")
    assert before.json()["unread_on"] is None
    site.stage.at(date(2026, 4, 23), 10)
    asha = site.person("asha")
    after = await good(asha, f"/summary/{account.id}")
    assert after["unread_on"] == "2026-04-23"


async def test_a_tag_is_of_one_viewer_and_of_one_set_of_parameters(site: Site) -> None:
    asha, account = await asha_with(site)
    tag = (await asha.get(f"{ROOT}/orders/{account.id}")).headers["etag"]
    for params in ({"limit": 3}, {"sort": "oldest"}, {"format": "csv"}, {"as_of": "2026-04-21"}, {"side": "BUY"}):
        answer = await asha.get(f"{ROOT}/orders/{account.id}", params=params, headers={"If-None-Match": tag})
        assert answer.status_code == 200, params
    ravi = site.person("ravi")
    await share(site, asha, ravi)
    seen = await ravi.get(f"{ROOT}/orders/{account.id}", headers={"If-None-Match": tag})
    assert seen.status_code == 200
    assert seen.json() == (await asha.get(f"{ROOT}/orders/{account.id}")).json()


async def share(site: Site, owner: Person, viewer: Person) -> None:
    async with transaction(site.stage.app.pool) as tx:
        await tx.execute(
            "INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            (owner.user, viewer.user, owner.name, viewer.name, site.now, site.now.replace(year=2027)),
        )


async def test_a_kept_answer_is_for_nobody_who_may_not_see_it(site: Site) -> None:
    asha, account = await asha_with(site)
    ravi = site.person("ravi")
    for name in READS:
        assert (await asha.get(f"{ROOT}/{name}/{account.id}")).status_code == 200
        foreign = await ravi.get(f"{ROOT}/{name}/{account.id}")
        absent = await ravi.get(f"{ROOT}/{name}/{uuid4()}")
        assert foreign.status_code == absent.status_code == 404
        assert (foreign.content, foreign.headers) == (absent.content, absent.headers)
    async with transaction(site.stage.app.pool) as tx:
        order = (await orders.orders(tx, [account.id]))[0]
    changed = await good(ravi, f"/quantity-changes/{order.trading_symbol}")
    assert (changed["items"], changed["completeness"]) == ([], [])
    theirs = await ravi.get(f"{ROOT}/quantity-changes/{order.trading_symbol}", params={"account_id": str(account.id)})
    assert theirs.status_code == 404
    assert (await ravi.get(f"{ROOT}/orders/{account.id}/{order.broker_order_id}")).status_code == 404
    await share(site, asha, ravi)
    assert (await good(ravi, f"/holdings/{account.id}"))["items"]
    async with transaction(site.stage.app.pool) as tx:
        await tx.execute("UPDATE viewer_grants SET ended_at = %s", (site.now,))
    assert (await ravi.get(f"{ROOT}/holdings/{account.id}")).status_code == 404


async def test_pages_have_no_gap_and_no_repeat_while_rows_come_in(site: Site) -> None:
    account = await site.account_of(site.person("asha"), 2)
    await days_of(site, account, DAYS[:2])
    asha = site.person("asha")
    before = [row["broker_order_id"] for row in await all_pages(asha, f"/orders/{account.id}")]
    page = await good(asha, f"/orders/{account.id}", limit=2)
    await days_of(site, account, DAYS[2:])
    found = page["items"]
    asha = site.person("asha")
    while page["next"]:
        page = await good(asha, f"/orders/{account.id}", limit=2, cursor=page["next"])
        found += page["items"]
    assert [row["broker_order_id"] for row in found] == before
    assert len(await all_pages(asha, f"/orders/{account.id}")) > len(before)


async def test_filters_choose_what_they_say(site: Site) -> None:
    asha, account = await asha_with(site)
    everything = await all_pages(asha, f"/orders/{account.id}")
    for name, field in (("symbol", "trading_symbol"), ("status", "status"), ("side", "side"), ("on", "listed_on")):
        for value in {row[field] for row in everything}:
            found = await all_pages(asha, f"/orders/{account.id}", **{name: value})
            assert found == [row for row in everything if row[field] == value], (name, value)
    late = await all_pages(asha, f"/orders/{account.id}", since="2026-04-21", to="2026-04-21")
    assert late == [row for row in everything if row["listed_on"] == "2026-04-21"]
    for pattern in ("%", "_" * len(everything[0]["trading_symbol"]), everything[0]["trading_symbol"][:2] + "%"):
        assert await all_pages(asha, f"/orders/{account.id}", symbol=pattern) == []
        assert await all_pages(asha, "/quantity-changes/" + pattern.replace("%", "%25")) == []


async def test_holdings_are_sorted_by_what_is_asked_the_unknown_last(site: Site) -> None:
    asha, account = await asha_with(site)
    for sort in ("value", "quantity", "unrealised_pnl"):
        rows = await all_pages(asha, f"/holdings/{account.id}", sort=sort, limit=2)
        known = [Decimal(row[sort]) for row in rows if row[sort] is not None]
        assert known == sorted(known, reverse=True)
        assert [row[sort] is None for row in rows] == sorted(row[sort] is None for row in rows)


async def test_every_answer_says_how_complete_it_is(site: Site) -> None:
    asha, account = await asha_with(site)
    for name in ("holdings", "positions", "orders", "fills", "snapshots"):
        known = (await good(asha, f"/{name}/{account.id}"))["completeness"]
        assert (known["standing"], known["trading_on"], known["unread_on"]) == ("final", "2026-04-22", None)
        assert known["read_at"].startswith("2026-04-22T10:30:00")
    empty = await site.account_of(site.person("ravi"), 1)
    ravi = site.person("ravi")
    for name in ("holdings", "orders"):
        answer = await good(ravi, f"/{name}/{empty.id}")
        assert answer["items"] == []
        assert answer["completeness"]["standing"] == "nothing read"
        assert answer["completeness"]["reason"] == "nothing has been read yet"
    summary = await good(ravi, f"/summary/{empty.id}")
    assert summary["holdings_value"] is None
    assert summary["unknown"]["holdings_value"] == "nothing has been read yet"


BAD: list[tuple[str, dict[str, str], str]] = [
    ("orders", {"as_of": "yesterday"}, "as_of"),
    ("orders", {"as_of": "2026-02-30"}, "as_of"),
    ("orders", {"as_of": "2027-01-01"}, "as_of"),
    ("orders", {"on": "20260420x"}, "on"),
    ("orders", {"limit": "0"}, "limit"),
    ("orders", {"limit": "201"}, "limit"),
    ("orders", {"limit": "many"}, "limit"),
    ("orders", {"sort": "random"}, "sort"),
    ("orders", {"side": "HOLD"}, "side"),
    ("orders", {"segment": "MARS"}, "segment"),
    ("orders", {"format": "xml"}, "format"),
    ("orders", {"symbol": "a" * 61}, "symbol"),
    ("orders", {"symbol": "a\x00b"}, "symbol"),
    ("orders", {"cursor": "W10"}, "cursor"),
    ("orders", {"cursor": "WyIyMDI2LTA0LTIwIixudWxsLDk5OTk5OTk5OTk5OTk5OTk5OTk5OV0"}, "cursor"),
    ("orders", {"colour": "red"}, "colour"),
    ("orders", {"to": "null"}, "to"),
    ("orders", {"side": "Null"}, "side"),
    ("orders", {"limit": "null"}, "limit"),
    ("orders", {"cursor": ""}, "cursor"),
    ("holdings", {"known_at": "0.5"}, "known_at"),
    ("holdings", {"known_at": "1776000000"}, "known_at"),
    ("orders", {"symbol": ""}, "symbol"),
    ("holdings", {"known_at": "2026-04-20"}, "known_at"),
    ("holdings", {"known_at": "2026-04-20T10:00:00"}, "known_at"),
    ("holdings", {"known_at": "2030-04-20T10:00:00Z"}, "known_at"),
    ("holdings", {"sort": "colour"}, "sort"),
    ("coverage", {"since": "0001-01-01"}, "since"),
    ("coverage", {"to": "0001-01-01"}, "to"),
    ("snapshots", {"revisions": "perhaps"}, "revisions"),
]


async def test_bad_input_is_refused_by_name(site: Site) -> None:
    asha = site.person("asha")
    for name, params, field in BAD:
        answer = await asha.get(f"{ROOT}/{name}/{uuid4()}", params=params)
        assert answer.status_code == 400, (name, params, answer.text)
        problem = problem_of(answer)
        assert field in problem.get("detail", "") or field in [each["field"] for each in problem.get("errors", [])], (
            params
        )
    for path in ("holdings/INFY", "orders/1", "summary/x", "orders/%20/1"):
        assert (await asha.get(f"{ROOT}/{path}")).status_code == 404, path


def table_of(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_a_csv_holds_the_same_and_no_formula(site: Site) -> None:
    asha, account = await asha_with(site)
    path = f"{ROOT}/orders/{account.id}"
    async with transaction(site.stage.app.pool) as tx:
        await tx.execute(
            "UPDATE current_orders SET remark = '=HYPERLINK(\"http://x\")' WHERE account_id = %s", (account.id,)
        )
    listed = (await asha.get(path)).json()
    answer = await asha.get(path, params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="orders.csv"'
    assert json.loads(answer.headers["portfolio-completeness"]) == listed["completeness"]
    rows = table_of(answer)
    assert [row["broker_order_id"] for row in rows] == [row["broker_order_id"] for row in listed["items"]]
    assert {row["remark"] for row in rows} == {'\'=HYPERLINK("http://x")'}
    by_header = await asha.get(path, headers={"Accept": "text/csv"})
    assert by_header.content == answer.content
    for name in ("holdings", "positions", "fills", "snapshots", "summary", "coverage"):
        assert table_of(await asha.get(f"{ROOT}/{name}/{account.id}", params={"format": "csv"})), name
    shares = table_of(await asha.get(f"{ROOT}/household/summary", params={"format": "csv"}))
    assert [share["isin"] for share in shares]


async def test_a_household_merges_the_same_share_and_adds_up(site: Site) -> None:
    asha = site.person("asha")
    first, second = await site.account_of(asha, 1), await site.account_of(asha, 2)
    for account in (first, second):
        await days_of(site, account, DAYS[:1], (16,))
    whole = await good(asha, "/household/summary")
    parts = [await good(asha, f"/summary/{account.id}") for account in (first, second)]
    assert whole["accounts"] == parts
    for name in ("holdings_value", "cash", "positions_pnl", "unrealised_pnl"):
        assert Decimal(whole[name]) == sum(Decimal(part[name]) for part in parts)
    assert whole["day_change"] is None
    assert whole["unknown"]["day_change"].count("no earlier snapshot") == 2
    held = [await all_pages(asha, f"/holdings/{account.id}") for account in (first, second)]
    assert {row["isin"] for row in held[0]} & {row["isin"] for row in held[1]}
    for share in whole["holdings"]:
        rows = [row for rows in held for row in rows if row["isin"] == share["isin"]]
        assert Decimal(share["quantity"]) == sum(Decimal(row["quantity"]) for row in rows)
        assert Decimal(share["value"]) == sum(Decimal(row["value"]) for row in rows)
        assert share["accounts"] == sorted(row["account"] for row in rows)
    assert len(whole["holdings"]) == len({row["isin"] for rows in held for row in rows})


async def test_what_was_believed_at_an_instant_is_what_was_answered_then(site: Site) -> None:
    account = await site.account_of(site.person("asha"), 2)
    believed = {}
    for day in DAYS:
        await days_of(site, account, [day], (16,))
        asha = site.person("asha")
        at = site.now.isoformat().replace("+00:00", "Z")
        believed[at] = (
            (await good(asha, f"/holdings/{account.id}")),
            await all_pages(asha, f"/snapshots/{account.id}"),
        )
    for at, (held, days) in believed.items():
        then = await good(asha, f"/holdings/{account.id}", known_at=at)
        assert then["items"] == held["items"], at
        assert then["completeness"]["trading_on"] == held["completeness"]["trading_on"]
        assert await all_pages(asha, f"/snapshots/{account.id}", known_at=at) == days
    nothing = await good(asha, f"/holdings/{account.id}", known_at="2026-04-19T00:00:00Z")
    assert (nothing["items"], nothing["completeness"]["standing"]) == ([], "nothing read")
