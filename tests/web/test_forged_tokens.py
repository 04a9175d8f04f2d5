"""T46: tokens that are forged, stale, or meant for something else open nothing over HTTP."""

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from portfolio_scheduler.identity import opaque
from portfolio_scheduler.identity.tokens import AUDIENCE
from tests.web.conftest import PASSWORD, Person, Site

ME = "/auth/me"


async def answer_to(site: Site, token: str) -> int:
    answer = await site.client.get(ME, headers={b"authorization": b"Bearer " + token.encode()})
    return answer.status_code


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).rstrip(b"=").decode()


def forged(site: Site, asha: Person) -> dict[str, str]:
    """Tokens that somebody without our key, or with one of our tokens, may come up with; or that are not good now."""
    ring = site.place.keyring.ring(site.now)
    good, ours = asha.token, ring.signing_key
    header, body, signature = good.split(".")
    head = json.loads(base64.urlsafe_b64decode(header + "=="))
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    public = ours.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    other = Ed25519PrivateKey.generate()

    def signed(key: Any = ours, alg: str = "EdDSA", head_: dict[str, Any] | None = None, **changed: Any) -> str:
        content = {name: value for name, value in (claims | changed).items() if value is not None}
        plain = {name: value for name, value in head.items() if name != "alg"}  # which the library adds
        return jwt.PyJWS().encode(
            json.dumps(content, separators=(",", ":")).encode(), key, algorithm=alg, headers={**plain, **(head_ or {})}
        )

    def hs256() -> str:
        """Signed with our public key as if it were a shared secret; the library refuses to, so by hand."""
        import hashlib
        import hmac

        text = f"{part(head | {'alg': 'HS256'})}.{body}"
        mac = hmac.digest(public, text.encode(), hashlib.sha256)
        return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    now = int(site.now.timestamp())
    assert signed() == good, "the forger knows how ours are written"
    return {
        "no algorithm": f"{part(head | {'alg': 'none'})}.{body}.",
        "no algorithm, our signature": f"{part(head | {'alg': 'none'})}.{body}.{signature}",
        "our public key as a secret": hs256(),
        "another key": signed(other),
        "another key that it names": signed(other, head_={"kid": "0" * 16}),
        "a path as kid": signed(other, head_={"kid": "../../dev/null"}),
        "SQL as kid": signed(other, head_={"kid": "' OR 1=1 --"}),
        "its own key in the header": signed(other, head_={"jwk": {"kty": "OKP"}}),
        "an address of keys": signed(other, head_={"jku": "https://example.org/keys"}),
        "a certificate's address": signed(ours, head_={"x5u": "https://example.org/cert"}),
        "RSA": signed(rsa.generate_private_key(65537, 2048), "RS256"),
        "an elliptic curve": signed(ec.generate_private_key(ec.SECP256R1()), "ES256"),
        "another audience": signed(aud="somebody-else"),
        "several audiences": signed(aud=[AUDIENCE, "somebody-else"]),
        "another issuer": signed(iss="https://example.org"),
        **{f"without {name}": signed(**{name: None}) for name in claims},
        "expired six seconds ago": signed(iat=now - 606, nbf=now - 606, exp=now - 6),
        "not before a minute and a half": signed(iat=now + 90, nbf=now + 90, exp=now + 690),
        "good for an hour": signed(exp=now + 3600),
        "another type": signed(head_={"typ": "JWT"}),
        "a refresh token's type": signed(head_={"typ": "rt+jwt"}),
        "another session": signed(sid=str(uuid4())),
        "a cut signature": good[:-1],
        "an altered signature": good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1],
        "another user's name on our signature": f"{header}.{part(claims | {'sub': str(UUID(int=1))})}.{signature}",
        "nothing": "",
        "text": "x",
    }


async def test_no_forged_token_is_accepted(site: Site) -> None:
    asha = site.person("asha")
    assert await answer_to(site, asha.token) == 200
    tokens = forged(site, asha)
    assert len(tokens) >= 20
    accepted = [what for what, token in tokens.items() if await answer_to(site, token) != 401]
    assert accepted == []
    assert await answer_to(site, asha.token) == 200


async def test_a_token_of_ours_for_something_else_is_no_access_token(site: Site) -> None:
    await site.member("asha")
    told = (await site.log_in("asha")).json()
    soon = site.now + timedelta(seconds=30)
    ticket, digest = opaque.make(opaque.Kind.WS_TICKET)
    await site.stage.rows(
        "INSERT INTO socket_tickets (digest, user_id, session_id, expires_at, open_until) VALUES (%s, %s, %s, %s, %s) "
        "RETURNING 1",
        *(digest, told["user_id"], told["session_id"], soon, soon),
    )
    tokens = [told["refresh_token"], told["device_token"], ticket, *(opaque.make(kind)[0] for kind in opaque.Kind)]
    assert {await answer_to(site, token) for token in tokens} == {401}
    root = await site.admin()
    invited = (await root.post("/auth/invitations", json={})).json()["token"]
    assert await answer_to(site, invited) == 401


async def test_a_token_counts_no_more_once_its_login_does_not(site: Site) -> None:
    """After a logout, a change of role or password, disabling, and reuse of a refresh token: at once."""
    root = await site.admin()
    asha = await site.member("asha")
    for what, method, path, body in (
        ("role", "PUT", f"/admin/users/{asha}/role", {"role": "admin"}),
        ("role back", "PUT", f"/admin/users/{asha}/role", {"role": "user"}),
        ("disabled", "POST", f"/admin/users/{asha}/disable", None),
    ):
        person = await site.logged_in("asha")
        token = person.token
        assert await answer_to(site, token) == 200
        assert (await root.ask(method, path, json=body)).status_code == 200, what
        assert await answer_to(site, token) == 401, what
    await root.post(f"/admin/users/{asha}/enable")
    person, other = await site.logged_in("asha"), await site.logged_in("asha")
    body = {"current_password": PASSWORD, "new_password": "seven brass lanterns hum"}
    assert (await other.post("/auth/password", json=body)).status_code == 200
    assert await answer_to(site, person.token) == 401, "password"
    assert (await other.post("/auth/logout")).status_code == 204
    assert await answer_to(site, other.token) == 401, "logout"


async def test_a_token_is_read_from_its_header_only(site: Site) -> None:
    asha = site.person("asha")
    for path in (f"{ME}?access_token={asha.token}", f"{ME}?token={asha.token}"):
        assert (await site.client.get(path)).status_code in {400, 401}
    cookie = {"Cookie": f"access_token={asha.token}"}
    assert (await site.client.get(ME, headers=cookie)).status_code == 401
