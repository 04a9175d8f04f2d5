"""What stands before the framework: it answers the reads that were asked before, and hands on everything else.

Whatever is not as it was the first time, or goes wrong, is the framework's: it knows how to say so.
"""

from http import HTTPStatus

import psycopg
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from portfolio_scheduler.errors import DatabaseUnavailable
from portfolio_scheduler.web.asked import is_host_of
from portfolio_scheduler.web.entry import entry_from
from portfolio_scheduler.web.place import Place
from portfolio_scheduler.web.reading import JSON, Found, find, moment_of


class Front:
    """An ASGI application around another."""

    def __init__(self, framework: ASGIApp) -> None:
        self._framework = framework

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["method"] == "GET":
            found = await _found(scope)
            if found is not None:
                await _say(found, send)
                return
        await self._framework(scope, receive, send)


async def _found(scope: HTTPScope) -> Found | None:
    told = list(scope["headers"])
    headers = {name: value.decode("latin-1") for name, value in told}
    place: Place = scope["litestar_app"].state.place
    accept = headers.get(b"accept", "")
    asked = place.repeats.get(scope, accept)
    if asked is None or len(headers) != len(told):  # which of two headers counts, the framework says
        return None
    if asked.moment != moment_of(place):
        place.repeats.forget(scope, accept)
        return None
    if not is_host_of(place.app.settings, headers.get(b"host", "")):
        return None
    try:
        entry = entry_from(place, headers.get(b"authorization", ""), "", scope["state"])
        return await find(place, entry, asked, headers.get(b"if-none-match", ""))
    except (DatabaseUnavailable, psycopg.Error) as error:
        scope["state"]["failed"] = error  # who is in trouble is not asked twice
        return None
    except Exception:  # noqa: BLE001 - the framework meets it, too, and says it as it says everything
        return None


async def _say(found: Found, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in found.headers.items()]
    if found.status != HTTPStatus.NOT_MODIFIED:
        headers += [(b"content-type", JSON.encode()), (b"content-length", str(len(found.body)).encode())]
    await send({"type": "http.response.start", "status": found.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": found.body, "more_body": False})
