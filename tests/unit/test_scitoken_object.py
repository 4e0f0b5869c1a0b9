"""SciTokenAuth: a token from scitokens, which can be serialized again."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from freezegun.api import FrozenDateTimeFactory
from scitokens import SciToken

from requests_gracedb import GraceDBAuth, SciTokenAuth, scitoken
from tests.loopback_server import Answer, Handler, LoopbackServer
from tests.unit.credentials import NOON, sent


@pytest.fixture(scope="session")
def key() -> ec.EllipticCurvePrivateKey:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def signable(key: ec.EllipticCurvePrivateKey, clock: FrozenDateTimeFactory) -> SciToken:
    """A token that holds the private key."""
    token = SciToken(key=key)
    token["iss"] = "https://issuer.invalid"
    return token


@pytest.fixture
def received(signable: SciToken, key: ec.EllipticCurvePrivateKey) -> SciToken:
    """A token of somebody else, without the private key."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return SciToken.deserialize(signable.serialize(lifetime=3600), public_key=pem)


def lifetime(value: str | None) -> tuple[float, float]:
    """Get the claims ``iat`` and ``exp`` of a bearer token, in seconds since noon."""
    claims = scitoken.unverified_claims((value or "").removeprefix("Bearer "))
    return claims["iat"] - NOON.timestamp(), claims["exp"] - NOON.timestamp()


def test_a_serialized_scitoken_is_sent_as_it_was_serialized(signable: SciToken) -> None:
    serialized = signable.serialize(lifetime=1000).decode()
    assert sent(SciTokenAuth(signable)) == f"Bearer {serialized}"


def test_a_deserialized_scitoken_is_sent_as_it_was_received(received: SciToken) -> None:
    assert sent(SciTokenAuth(received)) == f"Bearer {received._serialized_token}"


def test_a_scitoken_that_was_not_serialized_yet_is_serialized_for_ten_minutes(
    signable: SciToken,
) -> None:
    assert lifetime(sent(SciTokenAuth(signable))) == (0, 600)


def test_a_scitoken_that_was_never_serialized_and_cannot_be_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no private key"):
        SciTokenAuth(SciToken())


def test_a_scitoken_that_cannot_be_serialized_is_an_error_at_once(signable: SciToken) -> None:
    del signable["iss"]
    with pytest.raises(ValueError, match="cannot be serialized"):
        SciTokenAuth(signable)


def test_a_scitoken_is_taken_by_gracedb_auth(signable: SciToken) -> None:
    serialized = signable.serialize().decode()
    assert sent(GraceDBAuth(token=signable)) == f"Bearer {serialized}"


def test_a_scitoken_with_a_key_is_serialized_again_for_as_long_before_it_expires(
    signable: SciToken, clock: FrozenDateTimeFactory
) -> None:
    serialized = signable.serialize(lifetime=1000).decode()
    auth = SciTokenAuth(signable, auth_reload=True)
    clock.move_to(NOON + timedelta(seconds=699))
    assert sent(auth) == f"Bearer {serialized}"
    clock.move_to(NOON + timedelta(seconds=700))
    assert lifetime(sent(auth)) == (700, 1700)
    clock.move_to(NOON + timedelta(seconds=1399))
    assert lifetime(sent(auth)) == (700, 1700)
    clock.move_to(NOON + timedelta(seconds=1400))
    assert lifetime(sent(auth)) == (1400, 2400)


def test_a_scitoken_that_lives_shortly_is_serialized_once_for_many_requests(
    signable: SciToken, clock: FrozenDateTimeFactory
) -> None:
    signable.serialize(lifetime=100)
    auth = SciTokenAuth(signable, auth_reload=True)
    clock.tick(10)
    first = sent(auth)
    clock.tick(10)
    assert sent(auth) == first
    clock.tick(40)
    assert sent(auth) != first


def test_without_auth_reload_a_scitoken_is_not_serialized_again(
    signable: SciToken, clock: FrozenDateTimeFactory
) -> None:
    auth = SciTokenAuth(signable)
    clock.move_to(NOON + timedelta(hours=1))
    assert lifetime(sent(auth)) == (0, 600)


def test_a_scitoken_without_a_key_stays_in_use(
    received: SciToken, clock: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    auth = SciTokenAuth(received, auth_reload=True)
    clock.move_to(NOON + timedelta(minutes=59))
    assert sent(auth) == f"Bearer {received._serialized_token}"
    assert caplog.records == []


def test_a_scitoken_that_cannot_be_serialized_any_more_stays_in_use(
    signable: SciToken, clock: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    auth = SciTokenAuth(signable, auth_reload=True)
    before = sent(auth)
    del signable["iss"]
    clock.move_to(NOON + timedelta(minutes=9))
    assert sent(auth) == before
    assert "cannot be serialized" in caplog.text


def test_a_rejected_scitoken_is_not_serialized_again(
    signable: SciToken, server: LoopbackServer, session: requests.Session
) -> None:
    server.script = [Answer(401)]
    with pytest.raises(requests.HTTPError, match="401"):
        session.get(server.url, auth=SciTokenAuth(signable, auth_reload=True))
    assert len(server.requests) == 1


def test_a_request_is_repeated_with_a_scitoken_that_was_serialized_again_in_the_meantime(
    signable: SciToken,
    clock: FrozenDateTimeFactory,
    server: LoopbackServer,
    session: requests.Session,
) -> None:
    auth = SciTokenAuth(signable, auth_reload=True)

    def reject(handler: Handler) -> None:
        clock.move_to(NOON + timedelta(seconds=600))
        sent(auth)
        handler.write(Answer(401))

    server.script = [reject]
    session.get(server.url, auth=auth)
    assert [lifetime(value) for value in server.authorizations] == [(0, 600), (600, 1200)]


def test_the_representation_of_a_scitoken_tells_its_expiry_and_nothing_else(
    signable: SciToken,
) -> None:
    auth = SciTokenAuth(signable)
    assert repr(auth) == "<SciTokenAuth SciToken, expires 2100-05-04T12:10:00+00:00>"
