"""No secret shows in a repr, an error, a log line or a kept answer."""

import io
import traceback
from typing import Any

import pytest
import structlog

from portfolio_scheduler import log
from portfolio_scheduler.brokers.broker import AccessToken
from portfolio_scheduler.domain.records import Login, Outcome
from portfolio_scheduler.errors import BrokerError

from .conftest import Account, credentials
from .scripted import KEY, SECRET, TOTP_SECRET, Scripted, always, failure, in_turn, raw

SECRETS = (KEY, SECRET, TOTP_SECRET, "shown-nowhere", "pasted-")


def assert_shows_nothing(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text


@pytest.fixture(params=["text", "json"])
def logged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    lines = io.StringIO()
    monkeypatch.setattr("sys.stderr", lines)
    log.configure("DEBUG", request.param)
    yield lines
    structlog.reset_defaults()


async def test_reprs(account: Account, server: Scripted) -> None:
    login = credentials(Login.TOKEN, access_token="pasted-1")
    await account.book(login=login)
    session = account.session
    shown = [login, credentials(), session, session.token, session._login, session._http, account.groww]
    assert_shows_nothing(" ".join(map(repr, shown)) + " ".join(map(str, shown)))
    assert "•••" in repr(AccessToken(token="pasted-1", expires_at=account.clock.now()))


ECHO = failure(401, KEY, f"{SECRET} is not {TOTP_SECRET}")


@pytest.mark.parametrize("path", ["/token/api/access", "/holdings/user", "/user/detail"])
@pytest.mark.parametrize(
    "trouble",
    [ECHO, failure(400, KEY, SECRET), failure(503, KEY, SECRET), failure(403, KEY, SECRET), raw(f"<html>{KEY}", 502),
     raw(f'{{"token": "{KEY} {SECRET}"}}'), raw("", 429), raw(f'{{"payload": "{SECRET}"}}')],
    ids=range(8),
)  # fmt: skip
async def test_an_answer_that_echoes_secrets(
    account: Account, server: Scripted, logged: io.StringIO, path: str, trouble: Any
) -> None:
    server.on(path, always(trouble))
    try:
        fetched = await account.do("fetch_book")
        statement = account.parse(fetched)
        assert_shows_nothing(repr(statement.sections) + repr(statement.flags) + repr(statement.quarantined))
        assert_shows_nothing(" ".join(answer.request for answer in fetched.answers))
        assert any(result.outcome is not Outcome.OK for result in statement.sections.values())
    except BrokerError as error:
        assert_shows_nothing(repr(error) + str(error) + "".join(traceback.format_exception(error)))
        log.logger().exception("sync failed")
    assert_shows_nothing(logged.getvalue())


async def test_a_connection_that_fails(account: Account, server: Scripted, logged: io.StringIO) -> None:
    await account.do("fetch_book")
    server.on("/token/api/access", in_turn(lambda request: request.transport.abort() or raw("")))
    with pytest.raises(BrokerError) as raised:
        await account.do("fetch_book")
    assert_shows_nothing("".join(traceback.format_exception(raised.value)))
    try:
        raise raised.value
    except BrokerError:
        log.logger().exception("sync failed")
    assert "sync failed" in logged.getvalue()
    assert_shows_nothing(logged.getvalue())
