"""Refresh tokens: which are ours, which follow which, and what a stored digest gives away."""

from uuid import uuid4

import pytest

from portfolio_scheduler.errors import TokenRefused
from portfolio_scheduler.identity import refresh
from portfolio_scheduler.identity.kept_keys import Key
from portfolio_scheduler.identity.signing import Ring
from tests.db.test_row_security import NOW


@pytest.fixture
def ring() -> Ring:
    return Ring((Key.make(NOW),))


def test_a_token_names_its_session_and_is_known_as_ours(ring: Ring) -> None:
    session = uuid4()
    text, digest = refresh.make(ring, session)
    token = refresh.parsed(text)
    assert (token.session_id, token.digest) == (session, digest)
    assert refresh.is_ours(ring, token)
    assert text not in repr(token)


def test_the_same_token_always_has_the_same_successor_and_no_other_has_it(ring: Ring) -> None:
    one, other = (refresh.parsed(refresh.make(ring, uuid4())[0]) for _ in range(2))
    (first,), (again,), (different,) = (refresh.successors(ring, token) for token in (one, one, other))
    assert first == again != different
    following = refresh.parsed(first[0])
    assert following.session_id == one.session_id
    assert following.digest == first[1]
    assert refresh.is_ours(ring, following)


def test_after_a_rotation_of_keys_what_was_given_before_is_still_found() -> None:
    old, new = Key.make(NOW), Key.make(NOW)
    token = refresh.parsed(refresh.make(Ring((old,)), uuid4())[0])
    (before,) = refresh.successors(Ring((old,)), token)
    rotated = refresh.successors(Ring((old, new)), token)
    assert before in rotated
    assert rotated[0] != before, "new ones come from the newest key"
    assert refresh.is_ours(Ring((old, new)), token)
    assert not refresh.is_ours(Ring((new,)), token)


def test_one_altered_letter_makes_it_no_token_of_ours(ring: Ring) -> None:
    text, _ = refresh.make(ring, uuid4())
    for n in range(len(text)):
        altered = text[:n] + ("b" if text[n] == "a" else "a") + text[n + 1 :]
        try:
            assert not refresh.is_ours(ring, refresh.parsed(altered)), n
        except TokenRefused:
            continue


@pytest.mark.parametrize("text", ["", "psr_", "psr_" + "a" * 102, "psr_" + "a" * 104, "pst_" + "a" * 103, "x" * 107])
def test_what_is_no_refresh_token_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        refresh.parsed(text)
