"""Nothing but reads and the mint of a token can leave the product: by its source, and by trying."""

import ast
import re
from pathlib import Path

import pytest

import portfolio_scheduler
from portfolio_scheduler.brokers.groww import instruments
from portfolio_scheduler.brokers.groww.client import ROUTES, Groww
from portfolio_scheduler.brokers.http import Http

from .conftest import Account
from .scripted import Scripted

PACKAGE = Path(portfolio_scheduler.__file__).parent
OUTSIDE = {"simulator"}  # serves these calls, but sends none to a broker
OWN_SERVER = {"bench/live_events.py"}  # asks the server it has started itself, and knows no broker's address
CLIENTS = {"aiohttp", "httpx", "requests", "urllib3", "http.client", "urllib.request", "websockets", "socket"}
ORDER_CALLS = re.compile(r"order/(create|modify|cancel)|order-advance")
SENDING = {"post", "put", "patch", "delete", "request", "ws_connect", "urlopen"}


def sources() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in OUTSIDE]


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return names


def offences(text: str, *, is_http: bool = False) -> set[str]:
    """What a source file does that only `brokers/http.py` may do, or nobody."""
    found = {f"names {match[0]}" for match in ORDER_CALLS.finditer(text)}
    tree = ast.parse(text)
    if not is_http:
        found |= {f"imports {name}" for name in imported(tree) if name in {"aiohttp", "httpx", "requests", "urllib3"}}
        found |= {f"imports {name}" for name in imported(tree) if name in {"http.client", "urllib.request"}}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id == "ClientSession":
                found.add("uses ClientSession")
    return found


def test_only_one_file_can_send_anything() -> None:
    files = sources()
    assert len(files) > 10
    bad = {
        str(path.relative_to(PACKAGE)): found
        for path in files
        if (found := offences(path.read_text("utf-8"), is_http=path.match("brokers/http.py")))
    }
    assert bad == {path: {"imports aiohttp"} for path in OWN_SERVER}


@pytest.mark.parametrize(
    "text",
    ["import aiohttp", "from aiohttp import ClientSession", "import requests", "from urllib.request import urlopen",
     "URL = '/order/create'", "path = f'/order-advance/{x}'", "import http.client"],
)  # fmt: skip
def test_the_guard_would_notice(text: str) -> None:
    assert offences(text)


def test_http_sends_from_one_place_only() -> None:
    tree = ast.parse((PACKAGE / "brokers" / "http.py").read_text("utf-8"))
    calls = [
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert [name for name in calls if name in SENDING] == ["request"]


def test_the_list_holds_reads_and_the_mint() -> None:
    assert {(route.method, route.path.pattern.partition("(")[0]) for route in ROUTES} == {
        ("POST", "/token/api/access"), ("GET", "/user/detail"), ("GET", "/holdings/user"), ("GET", "/positions/user"),
        ("GET", "/order/list"), ("GET", "/order/detail/"), ("GET", "/order/trades/"), ("GET", "/margins/detail/user"),
        ("GET", "/live-data/ltp"),
    }  # fmt: skip


async def test_a_session_offers_reads_only(account: Account, server: Scripted) -> None:
    await account.book()
    public = {name for name in dir(account.session) if not name.startswith("_")}
    assert public == {
        "token", "mints", "clock_offset", "resume_at", "fetch_book", "fetch_earlier", "fetch_fills", "fetch_prices",
    }  # fmt: skip
    assert {name for name in dir(Http) if not name.startswith("_")} == {"send", "given_up_seconds"}
    assert {name for name in dir(Groww) if not name.startswith("_")} == {
        "name", "approval_url", "open", "parse", "fetch_instruments", "parse_instruments",
    }  # fmt: skip
    assert {request.method for request in server.asked if "/token/" not in request.path} == {"GET"}


def test_the_host_of_public_files_is_asked_for_one_file_only() -> None:
    assert [(route.method, route.path.pattern) for route in instruments.ROUTES] == [("GET", instruments.PATH)]
    assert instruments.ASSETS_URL == "https://growwapi-assets.groww.in"
