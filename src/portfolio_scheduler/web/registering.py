"""Registering: the first user by the set-up token, everybody else by an invitation."""

from datetime import datetime

from portfolio_scheduler.db.people import invitations, users
from portfolio_scheduler.db.people.access_log import Event, record
from portfolio_scheduler.db.people.invitations import Invitation
from portfolio_scheduler.db.people.users import Login
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.viewers import at_the_door
from portfolio_scheduler.errors import TokenRefused, Unprocessable
from portfolio_scheduler.identity import opaque, passwords
from portfolio_scheduler.identity.names import check_name
from portfolio_scheduler.web import gate, limits
from portfolio_scheduler.web.gate import Attempt, Entered
from portfolio_scheduler.web.place import Place

REFUSED = "This invitation does not count: it was used, has expired, was withdrawn, or is not written as it was given."


async def register(place: Place, attempt: Attempt, token: str) -> Entered:
    """A new user with a session. The set-up token makes an admin, who takes over what the command line connected."""
    check_name(attempt.name)
    passwords.check_rules(attempt.password, attempt.name)
    now, digest = place.app.clock.now(), _digest_of(token)
    async with at_the_door(place.pool, now) as tx:
        full = await limits.refusal(tx, limits.of_registration(attempt.address), now, attempt.address, None)
        counts = full is None and await invitations.counting(tx, digest, now) is not None
    if not counts:  # raised outside: the try stays counted
        raise full or Unprocessable(REFUSED)
    hashed = await passwords.hash_password(attempt.password, cost=place.cost)
    async with at_the_door(place.pool, now) as tx:
        return await _register(place, tx, attempt, digest, hashed, now)


async def _register(place: Place, tx: Tx, attempt: Attempt, digest: bytes, hashed: str, now: datetime) -> Entered:
    await invitations.hold_setup(tx)
    invitation = await invitations.counting(tx, digest, now)
    if invitation is None or (invitation.invited_by is None and await users.can_anybody_log_in(tx)):
        raise Unprocessable(REFUSED)
    login = await _added(tx, attempt, invitation, hashed, now)
    await invitations.use(tx, invitation.id, login.id, now)
    if invitation.invited_by is None:
        await invitations.end_setup(tx, now)
    details = {"role": login.role, "by": "invitation" if invitation.invited_by else "set-up token"}
    await record(tx, Event.REGISTERED, now, attempt.address, actor_id=login.id, subject_id=login.id, details=details)
    return await gate.open_session(place, tx, login, attempt, now, device=None)


async def _added(tx: Tx, attempt: Attempt, invitation: Invitation, hashed: str, now: datetime) -> Login:
    user_id = None
    if invitation.invited_by is None:
        user_id = await users.take_over(tx, attempt.name, hashed, now)
    if user_id is None:
        user_id = await users.add(tx, attempt.name, invitation.role, hashed, now)
    return await users.login_of(tx, user_id)


def _digest_of(token: str) -> bytes:
    for kind in (opaque.Kind.INVITATION, opaque.Kind.SETUP):
        try:
            return opaque.digest_of(kind, token)
        except TokenRefused:
            continue
    raise Unprocessable(REFUSED)
