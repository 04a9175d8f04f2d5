"""Pages as files: what is in them, in types that programs and spreadsheets take for what they are."""

import io
import sys
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyarrow import parquet

from portfolio_scheduler.db.reads.holdings import HoldingRow
from portfolio_scheduler.db.reads.orders import OrderRow
from portfolio_scheduler.errors import Unprocessable
from portfolio_scheduler.web.bodies import Bodies, Body
from portfolio_scheduler.web.tables import as_csv, as_parquet
from tests.web.conftest import Site, problem_of
from tests.web.test_reads import ROOT, asha_with

ROW: dict[str, Any] = {
    "broker_order_id": "GMK1",
    "listed_on": "2026-04-20",
    "quantity": "10",
    "filled_value": "1234567890123.123456789012345",
    "flags": ["a", "b"],
    "created_at": "2026-04-20T04:00:00Z",
}


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+91", "'+91"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("-12.50", "-12.50"),
        ("INFY", "INFY"),
        (None, ""),
        (True, "true"),
        (["=a", "b"], "'=a; b"),
        ({"holdings": "late"}, "holdings: late"),
    ],
)
def test_a_cell_is_no_formula_and_a_number_stays_one(value: object, cell: str) -> None:
    import csv

    table = as_csv([{"remark": value}], OrderRow).decode()
    [row] = csv.DictReader(io.StringIO(table, newline=""))
    assert row["remark"] == cell


def full(record: type[OrderRow], **known: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(record.__struct_fields__, "x")
    nothing = ("price", "trigger_price", "average_fill_price", "remark", "exchange_at")
    amounts = dict.fromkeys(("filled_quantity", "open_quantity"), "0")
    return row | dict.fromkeys(nothing) | amounts | {"account_id": "0" * 32} | known


def test_parquet_has_types_and_rounds_a_product_to_twelve_places() -> None:
    table = parquet.read_table(io.BytesIO(as_parquet([full(OrderRow, **ROW)], OrderRow)))
    [row] = table.to_pylist()
    assert row["listed_on"] == date(2026, 4, 20)
    assert row["quantity"] == Decimal(10)
    assert row["filled_value"] == Decimal("1234567890123.123456789012")
    assert row["flags"] == ["a", "b"]
    assert row["created_at"].isoformat() == "2026-04-20T04:00:00+00:00"
    assert row["price"] is None
    assert as_parquet([], HoldingRow)  # no rows, the same columns


async def test_the_lists_come_as_parquet(site: Site) -> None:
    asha, account = await asha_with(site)
    symbol = (await asha.get(f"{ROOT}/orders/{account.id}")).json()["items"][0]["trading_symbol"]
    for path in (
        f"orders/{account.id}",
        f"fills/{account.id}",
        f"snapshots/{account.id}",
        f"quantity-changes/{symbol}",
    ):
        listed = (await asha.get(f"{ROOT}/{path}")).json()
        answer = await asha.get(f"{ROOT}/{path}", params={"format": "parquet"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/vnd.apache.parquet"
        assert answer.headers["content-disposition"].endswith('.parquet"')
        rows = parquet.read_table(io.BytesIO(answer.content)).to_pylist()
        assert len(rows) == len(listed["items"])
        for row, told in zip(rows, listed["items"], strict=True):
            assert list(row) == list(told)
            for name, value in row.items():
                if isinstance(value, Decimal):
                    assert value == Decimal(told[name]), name
    refused = await asha.get(f"{ROOT}/holdings/{account.id}", params={"format": "parquet"})
    assert refused.status_code == 400


async def test_without_the_extra_parquet_is_a_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asha, account = await asha_with(site)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    with pytest.raises(Unprocessable):
        as_parquet([], OrderRow)
    answer = await asha.get(f"{ROOT}/orders/{account.id}", params={"format": "parquet"})
    assert answer.status_code == 422
    assert "portfolio-scheduler[parquet]" in problem_of(answer)["detail"]


def test_kept_answers_stay_within_their_room_and_the_last_used_stay() -> None:
    bodies = Bodies(16 * 1000)
    for number in range(40):
        bodies.put(b"%d" % number, Body("v", b"x" * 700))
        assert bodies.get(b"0") is not None
        assert bodies.size <= 16 * 1000
    assert bodies.get(b"1") is None
    assert bodies.get(b"39") is not None
    bodies.put(b"39", Body("w", b"y"))
    assert bodies.get(b"39") == Body("w", b"y")
    bodies.put(b"large", Body("v", b"x" * 17000))
    assert bodies.get(b"large") is None
    bodies.resize(0)
    assert (bodies.size, bodies.get(b"39")) == (0, None)
