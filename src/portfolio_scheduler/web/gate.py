"""The gate: a name, a password and a code become a session; a refresh token becomes the next one.

No transaction is open while a password is hashed. Whoever fails learns the same in the same time, whatever was wrong.
"""

import hmac
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID, uuid4

from msgspec import Struct

from portfolio_scheduler.db.people import attempts, sessions, users
from portfolio_scheduler.db.people.access_log import Event, record
from portfolio_scheduler.db.people.sessions import Held, NewSession
from portfolio_scheduler.db.people.users import MOST_FAILURES, Login
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.viewers import at_the_door
from portfolio_scheduler.errors import LoginRequired, PortfolioSchedulerError, SecondFactorRequired, TokenRefused
from portfolio_scheduler.identity import opaque, passwords, refresh
from portfolio_scheduler.identity.refresh import Refresh
from portfolio_scheduler.identity.signing import Ring
from portfolio_scheduler.web import codes, limits
from portfolio_scheduler.web.codes import WRONG
from portfolio_scheduler.web.place import Place

REPLAY = timedelta(seconds=10)  # in which the token before counts once more, because its answer may have got lost
AGENT_LENGTH = 200


class Attempt(Struct, frozen=True, kw_only=True):
    """Somebody wants in. Its repr shows nothing of what they typed."""

    name: str  # as it is kept: in small letters
    password: str
    code: str | None
    device_token: str | None
    remember: bool
    address: str
    agent: str

    def __repr__(self) -> str:
        return "Attempt(•••)"


class Entered(Struct, frozen=True, kw_only=True):
    """A session with the tokens of now."""

    user_id: UUID
    name: str
    role: str
    session_id: UUID
    second_factor: bool
    access_token: str
    refresh_token: str
    expires_at: datetime  # of the session
    device_token: str | None  # a new one, to be kept by the client; None where it has one that counts

    def __repr__(self) -> str:
        return f"Entered({self.session_id}, •••)"


class _Seen(Struct, frozen=True, kw_only=True):
    """What was found before the password was checked."""

    login: Login | None
    device: bytes | None  # of a known device

    @property
    def password_hash(self) -> str | None:
        """None where no password is right: unknown, without one, or stopped for strangers."""
        stopped = self.device is None and self.login is not None and self.login.is_stopped
        return None if self.login is None or stopped else self.login.password_hash


async def log_in(place: Place, attempt: Attempt) -> Entered:
    """A session for whoever knows the password and has the second factor, where there is one."""
    now = place.app.clock.now()
    seen = await _let_try(place, attempt, now)
    right = await passwords.verify(seen.password_hash, attempt.password, cost=place.cost)
    if not right or seen.login is None or seen.login.disabled_at is not None:
        await _note_failure(place, attempt, seen, now)
        raise LoginRequired(WRONG)
    if seen.login.has_factor and attempt.code is None:
        raise SecondFactorRequired
    rehashed = None
    if passwords.needs_rehash(seen.login.password_hash or "", cost=place.cost):
        rehashed = await passwords.hash_password(attempt.password, cost=place.cost)
    async with at_the_door(place.pool, now) as tx:
        entered = await _enter(place, tx, attempt, seen, rehashed, now)
    if isinstance(entered, PortfolioSchedulerError):
        raise entered
    return entered


async def _let_try(place: Place, attempt: Attempt, now: datetime) -> _Seen:
    device = _device_digest(attempt.device_token)
    async with at_the_door(place.pool, now) as tx:
        if device is not None and not await _is_known(tx, attempt.name, device, now):
            device = None
        login = await users.login_of_name(tx, attempt.name)
        buckets = limits.of_device(device) if device else limits.of_stranger(place, attempt.name, attempt.address, now)
        full = await limits.refusal(tx, buckets, now, attempt.address, login.id if login else None)
        if full is not None:
            raise full
    return _Seen(login=login, device=device)


async def _is_known(tx: Tx, name: str, device: bytes, now: datetime) -> bool:
    if await attempts.failures(tx, limits.failures_of(device)) >= MOST_FAILURES:
        return False
    return await sessions.knows_device(tx, name, device, now)


async def _note_failure(place: Place, attempt: Attempt, seen: _Seen, now: datetime) -> None:
    async with at_the_door(place.pool, now) as tx:
        await _count_failure(tx, attempt, seen, now)


async def _count_failure(tx: Tx, attempt: Attempt, seen: _Seen, now: datetime) -> None:
    subject = seen.login.id if seen.login else None
    if seen.device is not None:
        failed = await attempts.count_failure(tx, limits.failures_of(seen.device))
    else:
        failed = await users.count_failure(tx, attempt.name)
    await record(tx, Event.LOGIN_FAILED, now, attempt.address, subject_id=subject)
    if failed == MOST_FAILURES:
        await record(tx, Event.LOGIN_STOPPED, now, attempt.address, subject_id=subject)


async def _enter(
    place: Place, tx: Tx, attempt: Attempt, seen: _Seen, rehashed: str | None, now: datetime
) -> Entered | PortfolioSchedulerError:
    """Begin the session, unless something changed while the password was hashed, or the code is wrong."""
    assert seen.login is not None
    login = await users.login_of(tx, seen.login.id)
    if login.disabled_at is not None or login.password_hash != seen.login.password_hash:
        return LoginRequired(WRONG)
    if login.has_factor and attempt.code is None:  # confirmed in this very moment
        return SecondFactorRequired()
    if login.has_factor:
        refusal = await codes.refusal(place, tx, login, attempt.code or "", seen.device, now, attempt.address)
        if refusal is not None:
            await _count_failure(tx, attempt, seen, now)
            return refusal
    if rehashed is not None and login.password_hash is not None:
        await users.set_hash(tx, login.id, login.password_hash, rehashed)
    if seen.device is not None:
        await attempts.forget(tx, limits.failures_of(seen.device))
    else:
        await users.forget_failures(tx, login.id)
    return await open_session(place, tx, login, attempt, now, device=seen.device)


async def open_session(
    place: Place, tx: Tx, login: Login, attempt: Attempt, now: datetime, *, device: bytes | None
) -> Entered:
    """A session for somebody who has shown who they are."""
    session_id = uuid4()
    device_token, digest = (None, device) if device is not None else opaque.make(opaque.Kind.DEVICE)
    refresh_token, refresh_digest = refresh.make(place.keyring.ring(now), session_id)
    new = NewSession(
        id=session_id,
        user_id=login.id,
        is_admin=login.role == "admin",
        remembered=attempt.remember,
        second_factor=login.has_factor,
        device_digest=digest,
        refresh_digest=refresh_digest,
        address=attempt.address,
        agent=attempt.agent[:AGENT_LENGTH],
    )
    expires_at = await sessions.start(tx, new, now)
    details = {"session": str(session_id), "device": "known" if device else "new"}
    await record(tx, Event.LOGGED_IN, now, attempt.address, actor_id=login.id, subject_id=login.id, details=details)
    return Entered(
        user_id=login.id,
        name=login.name,
        role=login.role,
        session_id=session_id,
        second_factor=login.has_factor,
        access_token=place.signer.issue(user_id=login.id, session_id=session_id, now=now),
        refresh_token=refresh_token,
        expires_at=expires_at,
        device_token=device_token,
    )


# ── refreshing ──


class Verdict(Enum):
    ROTATE = auto()
    REPLAY = auto()  # the answer got lost: give it again
    REFUSE = auto()
    COPIED = auto()  # two have this token: end the session


async def renew(place: Place, refresh_token: str, device_token: str, address: str) -> Entered:
    """The next tokens of a session. A token that was used before ends it."""
    now = place.app.clock.now()
    token, device, ring = refresh.parsed(refresh_token), _device_digest(device_token), place.keyring.ring(now)
    renewed: str | None = None
    async with at_the_door(place.pool, now) as tx:
        held = await sessions.held(tx, token.session_id, now)
        verdict = judged(held, token, device, ring, now)
        if verdict is Verdict.ROTATE:
            renewed, digest = refresh.successors(ring, token)[0]
            await sessions.rotate(tx, token.session_id, digest, now)
        elif verdict is Verdict.REPLAY and held is not None:
            renewed = _given_before(ring, token, held)
            await sessions.mark_replayed(tx, token.session_id)
        elif verdict is Verdict.COPIED and held is not None:
            await _end_copied(tx, held, now, address)
    if held is None or renewed is None:
        raise TokenRefused(f"refresh token: {verdict.name.lower()}")
    return Entered(
        user_id=held.user_id,
        name=held.name,
        role=held.role,
        session_id=held.id,
        second_factor=held.second_factor,
        access_token=place.signer.issue(user_id=held.user_id, session_id=held.id, now=now),
        refresh_token=renewed,
        expires_at=held.expires_at,
        device_token=None,
    )


def judged(held: Held | None, token: Refresh, device: bytes | None, ring: Ring, now: datetime) -> Verdict:
    """What a refresh token is worth. One that was made up is refused; only one that was ours can be a copy."""
    if held is None or not held.counts:
        return Verdict.REFUSE
    same_device = device is not None and hmac.compare_digest(device, held.device_digest)
    if hmac.compare_digest(token.digest, held.refresh_digest):
        return Verdict.ROTATE if same_device else Verdict.COPIED
    is_previous = held.previous_digest is not None and hmac.compare_digest(token.digest, held.previous_digest)
    if is_previous and same_device and now - held.refreshed_at <= REPLAY:
        return Verdict.REFUSE if held.replayed else Verdict.REPLAY
    return Verdict.COPIED if is_previous or refresh.is_ours(ring, token) else Verdict.REFUSE


def _given_before(ring: Ring, token: Refresh, held: Held) -> str | None:
    """None when its key is gone; then the client logs in again."""
    return next((text for text, digest in refresh.successors(ring, token) if digest == held.refresh_digest), None)


async def _end_copied(tx: Tx, held: Held, now: datetime, address: str) -> None:
    await sessions.end(tx, held.id, sessions.REUSED, now)
    await record(tx, Event.REFRESH_REUSED, now, address, subject_id=held.user_id, details={"session": str(held.id)})


def _device_digest(text: str | None) -> bytes | None:
    """None for no token and for what cannot be one: an unknown device is nothing to be refused for."""
    if text is None:
        return None
    try:
        return opaque.digest_of(opaque.Kind.DEVICE, text)
    except TokenRefused:
        return None
