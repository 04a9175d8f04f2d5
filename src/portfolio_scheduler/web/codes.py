"""A code of the second factor, or one of the recovery codes, checked inside the transaction of what it is for."""

from datetime import datetime

from portfolio_scheduler.db.people import factors
from portfolio_scheduler.db.people.access_log import Event, record
from portfolio_scheduler.db.people.users import Login
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.errors import LoginRequired, PortfolioSchedulerError, SecretUnreadable, Unprocessable
from portfolio_scheduler.identity import second_factor
from portfolio_scheduler.log import logger
from portfolio_scheduler.web import limits
from portfolio_scheduler.web.place import Place

WRONG = "The user name, the password or the code is wrong, or too many were: then an administrator lifts the stop."
WRONG_CODE = "The code is wrong, or was used before; wait for the next one."

log = logger()


async def refusal(
    place: Place,
    tx: Tx,
    login: Login,
    code: str,
    device_digest: bytes | None,
    now: datetime,
    address: str,
    *,
    wrong: str | None = None,
) -> PortfolioSchedulerError | None:
    """Why the code is not accepted; None when it is, and then it has been used. `wrong` is for who is logged in."""
    full = await limits.refusal(tx, limits.of_codes(login.id, device_digest), now, address, login.id)
    if full is not None:
        return full
    if await _is_step(place, tx, login, code, now):
        return None
    digest = second_factor.recovery_digest(code)
    if digest is not None and await factors.use_recovery_code(tx, login.id, digest, now):
        await record(tx, Event.RECOVERY_CODE_USED, now, address, actor_id=login.id, subject_id=login.id)
        return None
    return LoginRequired(WRONG) if wrong is None else Unprocessable(wrong)


async def _is_step(place: Place, tx: Tx, login: Login, code: str, now: datetime) -> bool:
    assert login.factor_box is not None
    try:
        secret = place.factors.unlock(login.id, login.factor_box)
    except SecretUnreadable as e:  # the recovery codes still count
        log.warning("a second factor cannot be opened", reason=e.message)
        return False
    step = second_factor.accepted_step(secret, code, now, login.factor_step)
    if step is None or not await factors.use_step(tx, login.id, step):
        return False
    if not place.factors.is_of_newest_key(login.factor_box):
        await factors.keep_box(tx, login.id, place.factors.lock(login.id, secret))
    return True
