"""An opaque secret is what it was made for and nothing else, and what is kept of it opens nothing."""

import re

import pytest

from portfolio_scheduler.errors import TokenRefused
from portfolio_scheduler.identity import opaque
from portfolio_scheduler.identity.opaque import Kind

PREFIXES = {
    Kind.REFRESH: "psr_",
    Kind.API_TOKEN: "pst_",
    Kind.INVITATION: "psi_",
    Kind.SETUP: "pss_",
    Kind.WS_TICKET: "psw_",
    Kind.DEVICE: "psd_",
}


def test_every_kind_has_a_prefix_of_its_own() -> None:
    assert set(PREFIXES) == set(Kind)
    assert len(set(PREFIXES.values())) == len(PREFIXES)


@pytest.mark.parametrize("kind", Kind)
def test_a_secret_is_found_again_by_its_digest(kind: Kind) -> None:
    text, digest = opaque.make(kind)
    assert re.fullmatch(PREFIXES[kind] + "[a-z2-7]{52}", text)
    assert len(digest) == 32
    assert opaque.digest_of(kind, text) == digest
    assert opaque.matches(digest, kind, text)
    assert opaque.kind_of(text) is kind
    assert text[4:].encode() not in digest


def test_no_two_are_alike() -> None:
    made = [opaque.make(Kind.REFRESH) for _ in range(1000)]
    assert len({text for text, _ in made}) == len({digest for _, digest in made}) == 1000
    # Every one of the 52 letters varies: none of the 256 bits is lost on the way.
    assert min(len({text[n] for text, _ in made}) for n in range(4, 55)) == 32


def test_a_secret_of_one_kind_is_refused_as_another() -> None:
    refused = 0
    for kind in Kind:
        text, digest = opaque.make(kind)
        for other in set(Kind) - {kind}:
            with pytest.raises(TokenRefused):
                opaque.digest_of(other, text)
            assert opaque.digest_of(other, PREFIXES[other] + text[4:]) != digest
            refused += 1
    assert refused == 30


def test_a_text_that_is_no_secret_is_refused() -> None:
    text, _ = opaque.make(Kind.API_TOKEN)
    wrong = [
        "",
        "pst_",
        "pst",
        text[:-1],
        text + "a",
        text.upper(),
        " " + text,
        text + "\n",
        text[4:],
        "pst_" + "é" * 52,
    ]
    for other in [*wrong, "pst_" + "1" * 52, "PST_" + text[4:], text.replace("_", "-"), "x" * 100_000, "\ud800"]:
        with pytest.raises(TokenRefused) as refusal:
            opaque.digest_of(Kind.API_TOKEN, other)
        assert refusal.value.message == TokenRefused("").message
    assert [opaque.kind_of(text) for text in ("", "pst", "abc_x", "_x", "pst_x")] == [None] * 4 + [Kind.API_TOKEN]


def test_another_secret_does_not_match() -> None:
    _, digest = opaque.make(Kind.INVITATION)
    other, _ = opaque.make(Kind.INVITATION)
    assert not opaque.matches(digest, Kind.INVITATION, other)
