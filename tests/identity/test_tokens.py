"""An access token is believed when we issued it for this, it is whole, and its ten minutes run; nothing else is."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from portfolio_scheduler.errors import NotAllowed, TokenRefused
from portfolio_scheduler.identity import opaque, signing
from portfolio_scheduler.identity.kept_keys import Key, id_of
from portfolio_scheduler.identity.signing import Keyring, Ring
from portfolio_scheduler.identity.tokens import AUDIENCE, LONGEST, Signer, Verifier
from portfolio_scheduler.settings import Settings

NOW = datetime(2026, 4, 24, 10, 30, tzinfo=UTC)
SECOND = int(NOW.timestamp())
USER, SESSION, TOKEN = (UUID(int=n) for n in (1, 2, 3))
ISSUER = "https://portfolio.example"

SEED = hashlib.sha256(b"ours").digest()
KEY = Key(id_of(SEED), NOW, SEED)
OURS = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
THEIRS = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"theirs").digest())
PUBLIC = OURS.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
RAW = OURS.public_key().public_bytes_raw()

Members = dict[str, Any]


class Fixed:
    """A keyring that never changes and counts how often a key was asked for."""

    def __init__(self) -> None:
        self.asked = 0
        outer = self

        class Counting(Ring):
            def verifying_key(self, key_id: str) -> Any:
                outer.asked += 1
                return super().verifying_key(key_id)

        self._ring = Counting((KEY,))

    def ring(self, now: datetime) -> Ring:
        return self._ring


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(members: Members) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def header(**more: Any) -> Members:
    return dict(sorted(({"alg": "EdDSA", "kid": KEY.id, "typ": "at+jwt"} | more).items()))


def body(**more: Any) -> Members:
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(USER), "sid": str(SESSION), "jti": str(TOKEN)}
    whole |= {"iat": SECOND, "nbf": SECOND, "exp": SECOND + 600}
    return {name: value for name, value in (whole | more).items() if value is not None}


def at(**seconds: int) -> Members:
    """A body whose times are so many seconds from now."""
    return body(**{name: SECOND + offset for name, offset in seconds.items()})


def signed(head: Members | bytes, members: Members | bytes, sign: Callable[[bytes], bytes] = OURS.sign) -> str:
    parts = [b64(part if isinstance(part, bytes) else compact(part)) for part in (head, members)]
    return ".".join((*parts, b64(sign(".".join(parts).encode()))))


def hs256(key: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.digest(key, text, "sha256")


def rs256(text: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return rsa.generate_private_key(65537, 2048).sign(text, padding.PKCS1v15(), hashes.SHA256())


def es256(text: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(text, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def twice(members: Members, name: str, value: Any) -> bytes:
    """The members with one of them written a second time, with another value."""
    return compact(members)[:-1] + b"," + compact({name: value})[1:]


GOOD = signed(header(), body())
HEAD, BODY, SIGNATURE = GOOD.split(".")
THEIR_JWK = {"kty": "OKP", "crv": "Ed25519", "x": b64(THEIRS.public_key().public_bytes_raw())}
KIND, MEMBERS, RING, PARTS = "of another kind", "members that are", "not in our keyring", "no token in three parts"
HOLDS, ELSE, TIMES, WRITTEN = "does not hold", "somebody else", "contradict", "not written as we write it"

# What somebody may try, the token, and why it is refused. Signed with our own key unless the name says otherwise,
# so that each is refused for its own reason and for no other.
FORGED: dict[str, tuple[str, str]] = {
    "alg none, no signature": (f"{b64(compact(header(alg='none')))}.{BODY}.", PARTS),
    "alg none, our signature": (signed(header(alg="none"), body()), KIND),
    "alg NONE": (signed(header(alg="nOnE"), body()), KIND),
    "no alg": (signed({k: v for k, v in header().items() if k != "alg"}, body()), MEMBERS),
    "alg a list": (signed(header(alg=["EdDSA"]), body()), MEMBERS),
    "HS256 with the public key as PEM": (signed(header(alg="HS256"), body(), hs256(PUBLIC)), PARTS),
    "HS256 with the raw public key": (
        signed(header(alg="HS256"), body(), hs256(RAW)),
        PARTS,
    ),
    "HS512 with the public key": (
        signed(header(alg="HS512"), body(), lambda text: hmac.digest(PUBLIC, text, "sha512")),
        KIND,
    ),
    "HMAC under the name EdDSA": (signed(header(), body(), lambda t: hmac.digest(PUBLIC, t, "sha512")), HOLDS),
    "RS256": (signed(header(alg="RS256"), body(), rs256), PARTS),
    "ES256, as long as ours": (signed(header(alg="ES256"), body(), es256), KIND),
    "ES256 under the name EdDSA": (signed(header(), body(), es256), HOLDS),
    "signed by another key": (signed(header(), body(), THEIRS.sign), HOLDS),
    "signed by another key of its own kid": (signed(header(kid="0" * 16), body(), THEIRS.sign), RING),
    "another kid, our key": (signed(header(kid="0" * 16), body()), RING),
    "kid in capitals": (signed(header(kid=KEY.id.upper() + "X"), body()), RING),
    "kid a path": (signed(header(kid="../../../../dev/null"), body()), RING),
    "kid SQL": (signed(header(kid="x' UNION SELECT '1' --"), body()), RING),
    "kid an address": (signed(header(kid="https://attacker.example/key"), body()), RING),
    "kid empty": (signed(header(kid=""), body()), RING),
    "kid a number": (signed(header(kid=1), body()), MEMBERS),
    "no kid": (signed({k: v for k, v in header().items() if k != "kid"}, body()), MEMBERS),
    "jwk": (signed(header(jwk=THEIR_JWK), body(), THEIRS.sign), MEMBERS),
    "jwk, our signature": (signed(header(jwk=THEIR_JWK), body()), MEMBERS),
    "jku": (signed(header(jku="https://attacker.example/keys"), body()), MEMBERS),
    "x5u": (signed(header(x5u="https://attacker.example/cert"), body()), MEMBERS),
    "x5c": (signed(header(x5c=["MIIB"]), body()), MEMBERS),
    "crit": (signed(header(crit=["exp"]), body()), MEMBERS),
    "crit empty": (signed(header(crit=[]), body()), MEMBERS),
    "b64 false": (signed(header(b64=False, crit=["b64"]), body()), MEMBERS),
    "zip": (signed(header(zip="DEF"), body()), MEMBERS),
    "typ JWT": (signed(header(typ="JWT"), body()), KIND),
    "typ of a refresh token": (signed(header(typ="rt+jwt"), body()), KIND),
    "typ of an identity token": (signed(header(typ="id+jwt"), body()), KIND),
    "typ in capitals": (signed(header(typ="AT+JWT"), body()), KIND),
    "typ with its family": (signed(header(typ="application/at+jwt"), body()), KIND),
    "no typ": (signed({k: v for k, v in header().items() if k != "typ"}, body()), MEMBERS),
    "a refresh token": (opaque.make(opaque.Kind.REFRESH)[0], PARTS),
    "an API token": (opaque.make(opaque.Kind.API_TOKEN)[0], PARTS),
    "a ws ticket": (opaque.make(opaque.Kind.WS_TICKET)[0], PARTS),
    "aud of another product": (signed(header(), body(aud="other-api")), ELSE),
    "aud a list with ours": (signed(header(), body(aud=[AUDIENCE, "other"])), MEMBERS),
    "aud longer": (signed(header(), body(aud=AUDIENCE + "x")), ELSE),
    "iss of another installation": (signed(header(), body(iss="https://elsewhere.example")), ELSE),
    "iss with a slash": (signed(header(), body(iss=ISSUER + "/")), ELSE),
    "expired 6 s ago": (signed(header(), at(iat=-606, nbf=-606, exp=-6)), "expired"),
    "expired a year ago": (signed(header(), at(iat=-31_536_600, nbf=-31_536_600, exp=-31_536_000)), "expired"),
    "good in 90 s": (signed(header(), at(nbf=90)), "not good yet"),
    "issued in the future": (signed(header(), at(iat=90, nbf=90, exp=690)), "not good yet"),
    "issued after it begins": (signed(header(), at(iat=90)), TIMES),
    "good for a year": (signed(header(), at(exp=31_536_000)), TIMES),
    "good for one second too long": (signed(header(), at(exp=601)), TIMES),
    "ends before it begins": (signed(header(), at(exp=-1)), TIMES),
    "an end no calendar has": (signed(header(), body(iat=10**18, nbf=10**18, exp=10**18)), "no calendar"),
    "an end before Christ": (signed(header(), body(iat=-(10**18), nbf=-(10**18), exp=-(10**18))), "no calendar"),
    "exp a text": (signed(header(), body(exp=str(SECOND + 600))), MEMBERS),
    "exp a fraction": (signed(header(), body(exp=SECOND + 600.5)), MEMBERS),
    "exp with a point": (signed(header(), compact(body())[:-1] + b".0}"), MEMBERS),
    "exp true": (signed(header(), body(exp=True)), MEMBERS),
    "exp infinite": (signed(header(), compact(body(exp=0)).replace(b'"exp":0', b'"exp":1e999')), MEMBERS),
    "sub no user id": (signed(header(), body(sub="admin")), MEMBERS),
    "sub SQL": (signed(header(), body(sub="' OR 1=1 --")), MEMBERS),
    "sub without dashes": (signed(header(), body(sub=USER.hex)), WRITTEN),
    "a claim too many": (signed(header(), body(role="admin")), MEMBERS),
    "sub twice": (signed(header(), twice(body(), "sub", str(SESSION))), WRITTEN),
    "exp twice": (signed(header(), twice(body(), "exp", SECOND + 599)), WRITTEN),
    "alg twice": (signed(twice(header(), "alg", "none"), body()), WRITTEN),
    "kid twice": (signed(twice(header(kid="x"), "kid", KEY.id), body()), WRITTEN),
    "spaces in the body": (signed(header(), json.dumps(body()).encode()), WRITTEN),
    "body a list": (signed(header(), b"[]"), MEMBERS),
    "body no JSON": (signed(header(), b"\xff\xfe"), MEMBERS),
    "body nested": (signed(header(), b"[" * 300), MEMBERS),
    "payload changed": (f"{HEAD}.{b64(compact(body(sub=str(SESSION))))}.{SIGNATURE}", HOLDS),
    "payload of another token": (f"{HEAD}.{signed(header(), body(jti=str(USER))).split('.')[1]}.{SIGNATURE}", HOLDS),
    "signature cut short": (GOOD[:-1], PARTS),
    "signature half": (GOOD[:-43], PARTS),
    "signature missing": (f"{HEAD}.{BODY}.", PARTS),
    "signature zero": (f"{HEAD}.{BODY}.{b64(bytes(64))}", HOLDS),
    "signature of the identity point": (f"{HEAD}.{BODY}.{b64(bytes([1]) + bytes(63))}", HOLDS),
    "signature with bits left over": (GOOD[:-1] + chr(ord(GOOD[-1]) + 1), "bits left over"),
    "two parts": (f"{HEAD}.{BODY}", PARTS),
    "four parts": (f"{GOOD}.{SIGNATURE}", PARTS),
    "five parts, as if encrypted": (f"{HEAD}.{HEAD}.{HEAD}.{HEAD}.{SIGNATURE}", PARTS),
    "nothing": ("", PARTS),
    "dots": ("..", PARTS),
    "a space before": (" " + GOOD, PARTS),
    "a line end behind": (GOOD + "\n", PARTS),
    "Bearer before": ("Bearer " + GOOD, PARTS),
    "padded": (f"{HEAD}=.{BODY}.{SIGNATURE}", PARTS),
    "foreign letters": (GOOD[:-1] + "é", PARTS),
    "half a pair": (GOOD[:-1] + "\ud800", PARTS),
    "a NUL": (GOOD.replace(".", ".\0", 1), PARTS),
    "huge": (signed(header(), body(iss="x" * 100_000)), "at most"),
    "a little too long": (signed(header(), body(iss="x" * LONGEST)), "at most"),
}
FORGED |= {f"no {name}": (signed(header(), body(**{name: None})), MEMBERS) for name in body()}
FORGED |= {f"{name} null": (signed(header(), body() | {name: None}), MEMBERS) for name in body()}


@pytest.fixture
def verifier() -> Verifier:
    return Verifier(Fixed(), ISSUER)  # type: ignore[arg-type]


def settings_in(folder: Path) -> Settings:
    return Settings(data=folder / "here" / "kept", keys=folder / "keys")


def test_what_we_issue_is_believed_and_says_who_asks(verifier: Verifier) -> None:
    token = Signer(Fixed(), ISSUER).issue(user_id=USER, session_id=SESSION, now=NOW)  # type: ignore[arg-type]
    claims = verifier.verify(token, NOW)
    assert (claims.user_id, claims.session_id) == (USER, SESSION)
    assert claims.expires_at == NOW + timedelta(minutes=10)
    assert len(token) < LONGEST // 2 + 100


def test_every_token_has_a_name_of_its_own(verifier: Verifier) -> None:
    signer = Signer(Fixed(), ISSUER)  # type: ignore[arg-type]
    tokens = [signer.issue(user_id=USER, session_id=SESSION, now=NOW) for _ in range(50)]
    assert len({verifier.verify(token, NOW).token_id for token in tokens}) == 50


def test_the_token_that_the_forged_ones_start_from_is_good(verifier: Verifier) -> None:
    assert verifier.verify(GOOD, NOW).token_id == TOKEN


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_or_misused_token_is_refused(verifier: Verifier, name: str) -> None:
    token, reason = FORGED[name]
    for _ in range(2):  # the second time it must not be found among the remembered
        with pytest.raises(TokenRefused) as refusal:
            verifier.verify(token, NOW)
        assert reason in refusal.value.reason
        assert refusal.value.message == TokenRefused("").message  # the sender does not learn which it was
        assert isinstance(refusal.value, NotAllowed)
    assert verifier._verified == {}


def test_a_token_that_is_altered_anywhere_is_refused(verifier: Verifier) -> None:
    accepted = []
    for at_letter, letter in enumerate(GOOD):
        for other in {"A", "b", chr(ord(letter) ^ 1)} - {letter}:
            try:
                verifier.verify(GOOD[:at_letter] + other + GOOD[at_letter + 1 :], NOW)
            except TokenRefused:
                continue
            accepted.append((at_letter, other))
    assert accepted == []


def test_the_library_alone_would_take_a_refresh_token_for_an_access_token() -> None:
    """The control of the check of `typ`: without it the claims and the signature are all in order."""
    token, _ = FORGED["typ of a refresh token"]
    options = {"require": list(body()), "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    believed = jwt.decode(
        token,
        OURS.public_key(),
        algorithms=["EdDSA"],
        audience=AUDIENCE,
        issuer=ISSUER,
        options=options,  # type: ignore[arg-type]
    )
    assert believed == body()


@pytest.mark.parametrize(
    ("seconds", "good"), [(-6, False), (-5, True), (0, True), (599, True), (604, True), (605, False), (606, False)]
)
def test_a_token_is_good_for_ten_minutes_and_five_seconds_around(verifier: Verifier, seconds: int, good: bool) -> None:
    fresh, remembering = Verifier(Fixed(), ISSUER), verifier  # type: ignore[arg-type]
    remembering.verify(GOOD, NOW)
    for each in (fresh, remembering):
        if good:
            assert each.verify(GOOD, NOW + timedelta(seconds=seconds)).token_id == TOKEN
        else:
            with pytest.raises(TokenRefused):
                each.verify(GOOD, NOW + timedelta(seconds=seconds))


def test_a_signature_is_verified_once() -> None:
    keys = Fixed()
    verifier = Verifier(keys, ISSUER)  # type: ignore[arg-type]
    assert len({verifier.verify(GOOD, NOW + timedelta(seconds=n)) for n in range(500)}) == 1
    assert keys.asked == 1


def test_only_so_many_are_remembered_and_the_longest_unused_is_forgotten() -> None:
    keys = Fixed()
    verifier = Verifier(keys, ISSUER, remembered=3)  # type: ignore[arg-type]
    tokens = [signed(header(), body(jti=str(UUID(int=n)))) for n in range(5)]
    for token in (*tokens[:3], tokens[0], tokens[3]):
        verifier.verify(token, NOW)
    assert len(verifier._verified) == 3
    asked = keys.asked
    verifier.verify(tokens[0], NOW)
    assert keys.asked == asked
    verifier.verify(tokens[1], NOW)
    assert keys.asked == asked + 1


def test_tokens_of_a_replaced_key_hold_until_they_expire_and_the_new_key_signs(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    keys = Keyring.open_keys(settings, NOW)
    signer, verifier = Signer(keys, ISSUER), Verifier(Keyring.open_keys(settings, NOW), ISSUER)
    before = signer.issue(user_id=USER, session_id=SESSION, now=NOW)
    verifier.verify(before, NOW)
    new = signing.rotate(settings, NOW)
    later = NOW + timedelta(seconds=1)
    after = signer.issue(user_id=USER, session_id=SESSION, now=later)
    assert jwt.get_unverified_header(after)["kid"] == new != jwt.get_unverified_header(before)["kid"]
    assert verifier.verify(after, later).user_id == verifier.verify(before, later).user_id == USER


def test_tokens_of_a_key_that_was_seen_die_at_once_also_where_they_are_remembered(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    keys = Keyring.open_keys(settings, NOW)
    verifier = Verifier(keys, ISSUER)
    token = Signer(keys, ISSUER).issue(user_id=USER, session_id=SESSION, now=NOW)
    verifier.verify(token, NOW)
    signing.rotate(settings, NOW, at_once=True)
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(token, NOW + timedelta(seconds=1))
    assert RING in refusal.value.reason


def test_tokens_of_another_installation_are_refused(tmp_path: Path) -> None:
    here, there = (Keyring.open_keys(settings_in(tmp_path / name), NOW) for name in ("here", "there"))
    token = Signer(there, ISSUER).issue(user_id=USER, session_id=SESSION, now=NOW)
    with pytest.raises(TokenRefused):
        Verifier(here, ISSUER).verify(token, NOW)
