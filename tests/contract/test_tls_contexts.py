"""TLS contexts are shared, and what a request says about verify and cert holds all the same."""

from __future__ import annotations

import os
import pickle
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from cryptography.hazmat.primitives import serialization
from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.host_header_ssl import HostHeaderSSLAdapter

from requests_gracedb import ConnectionAdapter, GraceDBAdapter, connection
from tests.loopback_server import Answer, Handler, LoopbackServer, ProxyServer

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


@pytest.fixture(params=[HTTPAdapter, ConnectionAdapter, GraceDBAdapter])
def session(request: pytest.FixtureRequest) -> Iterator[requests.Session]:
    """A session as requests makes it, and ours; each request has a connection of its own."""
    with requests.Session() as session:
        session.mount("https://", request.param())
        session.headers["Connection"] = "close"
        yield session


@pytest.fixture
def ours() -> Iterator[requests.Session]:
    """A session of ours; each request has a connection of its own."""
    with requests.Session() as session:
        session.mount("https://", ConnectionAdapter())
        session.headers["Connection"] = "close"
        yield session


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The bundles that were read."""
    connection._context.cache_clear()
    readings: list[Any] = []
    read = ssl.SSLContext.load_verify_locations

    def load_verify_locations(context: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        readings.append(args[0])
        read(context, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load_verify_locations)
    return readings


@pytest.fixture
def wrong_bundle(tmp_path: Path) -> str:
    """The certificate of an authority that signed nothing."""
    path = tmp_path / "wrong.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def bundle(ca_bundle: str, tmp_path: Path) -> Path:
    """A bundle that can be replaced."""
    return Path(shutil.copy(ca_bundle, tmp_path / "bundle.pem"))


@pytest.fixture
def misnamed_server(authority: trustme.CA) -> Iterator[LoopbackServer]:
    """A server with a good certificate that is for another name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    with LoopbackServer(context) as server:
        yield server


def fails(session: requests.Session, server: LoopbackServer, **kwargs: Any) -> bool:
    """Tell whether the certificate is found to be bad."""
    try:
        session.get(server.url, **kwargs)
    except requests.exceptions.SSLError:
        return True
    return False


# They are shared.


def test_a_bundle_is_read_once(
    ours: requests.Session, tls_server: LoopbackServer, ca_bundle: str, readings: list[Any]
) -> None:
    for _ in range(5):
        ours.get(tls_server.url, verify=ca_bundle)
    with requests.Session() as another:
        another.mount("https://", GraceDBAdapter())
        another.get(tls_server.url, verify=ca_bundle)
    assert tls_server.connections == 6
    assert readings == [ca_bundle]


def test_a_bundle_is_read_once_through_a_proxy(
    ours: requests.Session, tls_server: LoopbackServer, ca_bundle: str, readings: list[Any]
) -> None:
    with ProxyServer() as proxy:
        for _ in range(3):
            ours.get(tls_server.url, verify=ca_bundle, proxies={"https": proxy.url})
    assert readings == [ca_bundle]


def test_threads_share_one_context(
    ours: requests.Session, tls_server: LoopbackServer, ca_bundle: str, readings: list[Any]
) -> None:
    ours.get(tls_server.url, verify=ca_bundle)
    failures: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(20):
                ours.get(tls_server.url, verify=ca_bundle)
        except requests.RequestException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert readings == [ca_bundle]


def test_few_are_kept(
    ours: requests.Session, tls_server: LoopbackServer, bundle: Path, readings: list[Any]
) -> None:
    for number in range(20):
        copy = bundle.with_name(f"{number}.pem")
        ours.get(tls_server.url, verify=str(shutil.copy(bundle, copy)))
    assert len(readings) == 20
    assert connection._context.cache_info().currsize <= 8


def test_none_is_pickled(
    ours: requests.Session, tls_server: LoopbackServer, ca_bundle: str
) -> None:
    ours.verify = ca_bundle
    ours.get(tls_server.url)
    with pickle.loads(pickle.dumps(ours)) as copy:
        assert copy.get(tls_server.url).ok


# What a request says holds.


def test_each_request_has_its_own_bundle(
    session: requests.Session, tls_server: LoopbackServer, ca_bundle: str, wrong_bundle: str
) -> None:
    bundles = [ca_bundle, wrong_bundle, False, wrong_bundle, True, ca_bundle, False, True]
    found = [fails(session, tls_server, verify=bundle) for bundle in bundles]
    assert found == [False, True, False, True, True, False, False, True]


def test_a_session_changes_its_mind(
    session: requests.Session, tls_server: LoopbackServer, ca_bundle: str, wrong_bundle: str
) -> None:
    found = []
    for session.verify in (ca_bundle, False, wrong_bundle, ca_bundle, True):
        found.append(fails(session, tls_server))
    assert found == [False, False, True, False, True]


def test_the_environment_changes(
    session: requests.Session,
    tls_server: LoopbackServer,
    ca_bundle: str,
    wrong_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for bundle in (ca_bundle, wrong_bundle, ca_bundle):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
        found.append(fails(session, tls_server))
    assert found == [False, True, False]


def rename(source: str, target: Path) -> None:
    """Put another file in the place of one."""
    shutil.copy(source, f"{target}.new")
    os.replace(f"{target}.new", target)


def rewrite(source: str, target: Path) -> None:
    """Write other content into a file."""
    target.write_bytes(Path(source).read_bytes())


def rewrite_and_backdate(source: str, target: Path) -> None:
    """Write other content into a file, and give it the time that it had."""
    status = target.stat()
    rewrite(source, target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def link(source: str, target: Path) -> None:
    """Put a symbolic link in the place of a file."""
    target.unlink()
    target.symlink_to(source)


@pytest.mark.parametrize("replace", [rename, rewrite, rewrite_and_backdate, link])
def test_a_bundle_that_is_replaced_on_disk_counts(
    replace: Callable[[str, Path], None],
    session: requests.Session,
    tls_server: LoopbackServer,
    bundle: Path,
    ca_bundle: str,
    wrong_bundle: str,
) -> None:
    found = [fails(session, tls_server, verify=str(bundle))]
    for source in (wrong_bundle, ca_bundle):
        if bundle.is_symlink():
            bundle.unlink()
            bundle.touch()
        replace(source, bundle)
        found.append(fails(session, tls_server, verify=str(bundle)))
    assert found == [False, True, False]


def test_a_bundle_that_vanishes_is_an_error(
    session: requests.Session, tls_server: LoopbackServer, bundle: Path
) -> None:
    session.get(tls_server.url, verify=str(bundle))
    bundle.unlink()
    with pytest.raises(OSError, match="Could not find a suitable TLS CA certificate bundle"):
        session.get(tls_server.url, verify=str(bundle))


def test_a_bundle_that_is_none_is_an_error_of_tls(
    session: requests.Session, tls_server: LoopbackServer, bundle: Path
) -> None:
    bundle.write_text("not a certificate")
    for _ in range(2):
        assert fails(session, tls_server, verify=str(bundle))


def test_a_directory_of_certificates_is_looked_up_each_time(
    session: requests.Session, tls_server: LoopbackServer, ca_bundle: str, tmp_path: Path
) -> None:
    directory = tmp_path / "certificates"
    directory.mkdir()
    assert fails(session, tls_server, verify=str(directory))
    assert not fails(session, tls_server, verify=ca_bundle)
    assert fails(session, tls_server, verify=str(directory))


# No connection that wants it checked shares a context where it is not.


def test_the_name_is_checked_after_it_was_not(
    session: requests.Session, misnamed_server: LoopbackServer, ca_bundle: str
) -> None:
    found = [fails(session, misnamed_server, verify=v) for v in (False, ca_bundle) * 3]
    assert found == [False, True] * 3


class Renaming(HostHeaderSSLAdapter, ConnectionAdapter):
    """An adapter that has certificates checked for the name in the Host header."""


def test_an_adapter_that_has_another_name_checked_shares_nothing(
    ours: requests.Session, misnamed_server: LoopbackServer, ca_bundle: str
) -> None:
    with requests.Session() as renaming:
        renaming.mount("https://", Renaming())
        renaming.headers.update({"Host": "elsewhere.example", "Connection": "close"})
        for _ in range(3):
            assert not fails(renaming, misnamed_server, verify=ca_bundle)
            assert fails(ours, misnamed_server, verify=ca_bundle)
        renaming.headers["Host"] = "localhost"
        assert fails(renaming, misnamed_server, verify=ca_bundle)


def test_a_context_that_somebody_changed_verifies_all_the_same(
    ours: requests.Session, misnamed_server: LoopbackServer, ca_bundle: str
) -> None:
    connection._context.cache_clear()
    assert fails(ours, misnamed_server, verify=ca_bundle)
    file = connection._file(ca_bundle)
    context = connection._context(ssl.CERT_REQUIRED, file, None, None, None)
    context.check_hostname = False
    assert fails(ours, misnamed_server, verify=ca_bundle)
    context.verify_mode = ssl.CERT_NONE
    assert fails(ours, misnamed_server, verify=ca_bundle)
    connection._context.cache_clear()


def test_a_context_that_somebody_changed_does_not_stop_those_that_verify_nothing(
    ours: requests.Session, misnamed_server: LoopbackServer
) -> None:
    connection._context.cache_clear()
    assert not fails(ours, misnamed_server, verify=False)
    context = connection._context(ssl.CERT_NONE, None, None, None, os.environ.get("SSLKEYLOGFILE"))
    context.check_hostname = True  # urllib3 cannot set verify_mode any more.
    assert not fails(ours, misnamed_server, verify=False)
    connection._context.cache_clear()


def test_threads_that_differ_get_what_they_ask_for(
    ours: requests.Session, misnamed_server: LoopbackServer, ca_bundle: str
) -> None:
    found: dict[bool | str, set[bool]] = {False: set(), ca_bundle: set()}

    def work(verify: bool | str) -> None:
        for _ in range(15):
            found[verify].add(fails(ours, misnamed_server, verify=verify))

    threads = [threading.Thread(target=work, args=(verify,)) for verify in [*found] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {False: {False}, ca_bundle: {True}}


# Client certificates.


@pytest.fixture
def asking_server(authority: trustme.CA) -> Iterator[LoopbackServer]:
    """A server that asks for a certificate, and answers whose it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL

    def whose(handler: Handler) -> None:
        certificate = handler.request.getpeercert() or {}
        name = dict(certificate.get("subjectAltName", [])).get("DNS", "nobody")
        handler.write(Answer(body=name.encode()))

    with LoopbackServer(context) as server:
        server.answer = lambda received: whose
        yield server


@pytest.fixture
def identify(authority: trustme.CA, tmp_path: Path) -> Callable[[str], str]:
    """Make a client certificate, with its key in the same file."""

    def identify(name: str) -> str:
        path = tmp_path / name
        path.unlink(missing_ok=True)
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    return identify


def test_a_client_certificate_is_shown_by_those_that_say_so(
    session: requests.Session,
    asking_server: LoopbackServer,
    identify: Callable[[str], str],
    ca_bundle: str,
) -> None:
    one, two = identify("one"), identify("two")
    shown = [
        session.get(asking_server.url, verify=ca_bundle, cert=cert).text
        for cert in (None, one, None, two, one, (two, two), None)
    ]
    assert shown == ["nobody", "one", "nobody", "two", "one", "two", "nobody"]


def test_a_client_certificate_that_is_replaced_on_disk_counts(
    session: requests.Session,
    asking_server: LoopbackServer,
    identify: Callable[[str], str],
    ca_bundle: str,
) -> None:
    cert = identify("one")
    shown = [session.get(asking_server.url, verify=ca_bundle, cert=cert).text]
    os.replace(identify("two"), cert)
    shown.append(session.get(asking_server.url, verify=ca_bundle, cert=cert).text)
    assert shown == ["one", "two"]


def test_an_encrypted_key_is_an_error_and_no_question(
    session: requests.Session,
    tls_server: LoopbackServer,
    authority: trustme.CA,
    ca_bundle: str,
    tmp_path: Path,
) -> None:
    issued = authority.issue_cert("one")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    plain = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(requests.exceptions.SSLError, match="Client private key is encrypted"):
        session.get(tls_server.url, verify=ca_bundle, cert=(str(certificate), str(key)))
