"""A stand-in for GraceDB, on the stack that GraceDB runs: Django REST framework under gunicorn.

It listens on a loopback port that the system chooses, over TLS, and keeps its state in memory and
in a temporary directory for as long as it runs::

    with GraceDBServer() as server:
        session = requests.Session()
        session.verify = server.ca_bundle
        session.get(server.url)

To try things by hand, run ``python -m tests.gracedb_server`` from the top of the source tree.

The first half of this module starts and stops the server; the middle is what the server knows; the
last part, the Django application, exists only in the process that serves it.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any
from urllib.parse import quote

import scitokens
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

READ_SCOPE = "gracedb.read"
CREATE_SCOPE = "gracedb.create"
BOTH_SCOPES = f"{READ_SCOPE} {CREATE_SCOPE}"

SERVE = "--serve"
SERVING = __name__ == "__main__" and sys.argv[1:] == [SERVE]


class GraceDBServer:
    """A running GraceDB, as a context manager.

    Parameters
    ----------
    throttle : str, optional
        How many POST requests to take, in the notation of Django REST framework: ``"5/minute"``.
        No limit by default.
    names : tuple of str
        What else the server is called, in its certificate and in requests, besides localhost. It is
        up to the client to find it by these names.

    Attributes
    ----------
    url : str
        The root of the API, ``https://localhost:PORT/api/``.
    ca_bundle : str
        The path of the CA certificate, for ``session.verify``.
    username, password : str
        An account that may read and create.
    issuer : str
        Who signs the tokens.
    key : cryptography.hazmat.primitives.asymmetric.rsa.RSAPrivateKey
        What the tokens are signed with.
    directory : pathlib.Path
        Where the server keeps its files, until it ends.
    """

    url: str
    ca_bundle: str
    directory: Path

    def __init__(self, *, throttle: str | None = None, names: tuple[str, ...] = ()) -> None:
        self.username = "albert.einstein"
        self.password = secrets.token_urlsafe()
        self.issuer = "https://localhost/stand-in"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._throttle = throttle
        self._names = names

    def __enter__(self) -> GraceDBServer:
        with ExitStack() as stack:
            temporary = TemporaryDirectory(prefix="gracedb-", ignore_cleanup_errors=True)
            self.directory = Path(stack.enter_context(temporary))
            self._write_certificates()
            # It listens before there is a server: a client that comes early waits in the queue.
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
                self.url = f"https://localhost:{port}/api/"
                self._process = self._start(listener.fileno())
                stack.callback(self._stop)
            self._check(port)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def scitoken(
        self,
        *,
        scope: str = BOTH_SCOPES,
        lifetime: int = 3600,
        subject: str = "albert.einstein@ligo.org",
        audience: str | list[str] | None = None,
    ) -> scitokens.SciToken:
        """Make a token that holds the private key, and is not serialized yet.

        Parameters
        ----------
        scope : str
            What it allows, separated by spaces.
        lifetime : int
            How many seconds it is good for; negative for a token that has expired.
            ``SciToken.serialize`` goes by its own argument instead.
        subject : str
            Whose token it is.
        audience : str or list of str, optional
            Whom it is for; this server by default.

        Returns
        -------
        scitokens.SciToken
        """
        token = scitokens.SciToken(key=self.key)
        token.update_claims({
            "ver": "scitoken:2.0",
            "iss": self.issuer,
            "sub": subject,
            "aud": self._origin if audience is None else audience,
            "scope": scope,
            "exp": int(time.time()) + lifetime,
        })
        return token

    def token(
        self,
        *,
        scope: str = BOTH_SCOPES,
        lifetime: int = 3600,
        subject: str = "albert.einstein@ligo.org",
        audience: str | list[str] | None = None,
    ) -> str:
        """Make a signed token; the parameters are those of `scitoken`.

        Returns
        -------
        str
        """
        token = self.scitoken(scope=scope, subject=subject, audience=audience)
        return str(token.serialize(lifetime=lifetime), "ascii")

    def wait(self) -> None:
        """Wait until the server ends by itself, or the program is interrupted."""
        self._process.wait()

    @property
    def _origin(self) -> str:
        return self.url.removesuffix("/api/")

    def _write_certificates(self) -> None:
        authority = trustme.CA()
        bundle = self.directory / "ca.pem"
        authority.cert_pem.write_to_path(str(bundle))
        certificate = authority.issue_cert("localhost", "127.0.0.1", *self._names)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self.directory / "server.pem"))
        self.ca_bundle = str(bundle)

    def _start(self, descriptor: int) -> subprocess.Popen[str]:
        config = Config(
            descriptor=descriptor,
            directory=str(self.directory),
            public_key=self._public_key(),
            issuer=self.issuer,
            audience=self._origin,
            username=self.username,
            password=self.password,
            throttle=self._throttle,
            names=self._names,
        )
        with open(self.directory / "server.log", "w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.gracedb_server", SERVE],
                cwd=Path(__file__).parent.parent,
                # scitokens opens a cache of public keys there; the user's own is left alone.
                env={**os.environ, "XDG_CACHE_HOME": str(self.directory)},
                pass_fds=[descriptor],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # An interrupt from the terminal is for the parent, which then ends the server.
                start_new_session=True,
                text=True,
            )
        if process.stdin:
            # The pipe stays open: its end tells the server that this process is gone.
            process.stdin.write(json.dumps(asdict(config)) + "\n")
            process.stdin.flush()
        return process

    def _public_key(self) -> str:
        public_key = self.key.public_key()
        pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode("ascii")

    def _check(self, port: int) -> None:
        context = ssl.create_default_context(cafile=self.ca_bundle)
        connection = HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        try:
            connection.request("GET", "/api/")
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise RuntimeError(f"the server did not start: {self._log()}") from error
        finally:
            connection.close()
        if status != 200:
            raise RuntimeError(f"the server answers with status {status}: {self._log()}")

    def _log(self) -> str:
        return (self.directory / "server.log").read_text()

    def _stop(self) -> None:
        # To gunicorn SIGTERM means to wait for clients that keep their connections open.
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.communicate()


def main() -> None:
    """Serve until interrupted, and tell the shell how to use it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    with GraceDBServer() as server:
        token_file = server.directory / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(server.token(lifetime=86400))
        print(server.url)
        print(f"export REQUESTS_CA_BUNDLE={shlex.quote(server.ca_bundle)}")
        print(f"export BEARER_TOKEN_FILE={shlex.quote(str(token_file))}", flush=True)
        server.wait()


@dataclass(frozen=True)
class Config:
    """What the serving process is told by the one that starts it."""

    descriptor: int
    directory: str
    public_key: str
    issuer: str
    audience: str
    username: str
    password: str
    throttle: str | None
    names: tuple[str, ...]


GROUPS = ("Test", "CBC", "Burst")
PIPELINES = ("gstlal", "pycbc", "MBTA", "spiir", "cWB", "oLIB", "MLy", "HardwareInjection")
SEARCHES = ("AllSky", "EarlyWarning", "LowMass", "HighMass", "SSM", "BBH", "MDC")
LABELS = (
    "INJ", "DQV", "EM_READY", "EM_SENT", "SKYMAP_READY", "EMBRIGHT_READY", "PASTRO_READY",
    "PE_READY", "ADVREQ", "ADVOK", "ADVNO", "H1OK", "H1NO", "L1OK", "L1NO", "V1OK", "V1NO",
    "SIGNIF_LOCKED", "LOW_SIGNIF_LOCKED", "EARLY_WARNING", "RAVEN_ALERT", "GCN_PRELIM_SENT",
)
EVENTS = "events"
SUPEREVENTS = "superevents"

# Reentrant, and one for everything: what a request does to the state takes no time.
LOCK = threading.RLock()

JSON = dict[str, object]


def now() -> str:
    """Tell the time as GraceDB does."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


@dataclass(frozen=True)
class StoredFile:
    """One version of a file."""

    path: Path
    content_type: str


@dataclass(frozen=True)
class LogEntry:
    """A comment, maybe on a file."""

    number: int
    comment: str
    issuer: str
    tags: list[str]
    filename: str
    version: int | None
    created: str = field(default_factory=now)

    def as_json(self, url: str) -> JSON:
        """Describe the entry of the record at this URL."""
        versioned = quote(f"{self.filename},{self.version}")
        return {
            "N": self.number,
            "self": f"{url}log/{self.number}",
            "comment": self.comment,
            "created": self.created,
            "issuer": self.issuer,
            "filename": self.filename,
            "file_version": self.version,
            "file": f"{url}files/{versioned}" if self.filename else None,
            "tag_names": self.tags,
        }


@dataclass(frozen=True)
class Label:
    """A label on a record."""

    name: str
    creator: str
    created: str = field(default_factory=now)

    def as_json(self, url: str) -> JSON:
        """Describe the label on the record at this URL."""
        return {**asdict(self), "self": f"{url}labels/{self.name}"}


@dataclass
class Record:
    """What events and superevents have in common."""

    collection: str
    key: str
    submitter: str
    properties: JSON
    created: str = field(default_factory=now)
    labels: dict[str, Label] = field(default_factory=dict)
    log: list[LogEntry] = field(default_factory=list)
    files: dict[str, list[StoredFile]] = field(default_factory=dict)

    def as_json(self, api: str) -> JSON:
        """Describe the record, given the URL of the API."""
        url = self.url(api)
        parts = {name: f"{url}{name}/" for name in ("files", "log", "labels")}
        with LOCK:
            labels = list(self.labels)
        return {
            "graceid" if self.collection == EVENTS else "superevent_id": self.key,
            **self.properties,
            "created": self.created,
            "submitter": self.submitter,
            "labels": labels,
            "links": {**parts, "self": url},
        }

    def url(self, api: str) -> str:
        """Locate the record, given the URL of the API."""
        return f"{api}{self.collection}/{self.key}/"

    def matches(self, words: list[str]) -> bool:
        """Tell whether each of the words is the value of one of the properties."""
        values = {self.key, *map(str, self.properties.values())}
        return values.issuperset(words)

    def add_label(self, name: str, creator: str) -> Label:
        """Put a label on the record."""
        label = Label(name, creator)
        with LOCK:
            self.labels[name] = label
        return label

    def add_file(self, name: str, file: StoredFile) -> int:
        """Add a file, or a new version of it, and return the number of the version."""
        with LOCK:
            versions = self.files.setdefault(name, [])
            versions.append(file)
            return len(versions) - 1

    def find_file(self, name: str) -> StoredFile | None:
        """Find a file: ``name`` is the newest version, ``name,0`` the first."""
        stem, _, version = name.rpartition(",")
        with LOCK:
            if name in self.files:
                return self.files[name][-1]
            versions = {str(number): file for number, file in enumerate(self.files.get(stem, []))}
        return versions.get(version)

    def file_names(self) -> Iterator[str]:
        """List the files and all their versions."""
        with LOCK:
            counts = {name: len(versions) for name, versions in self.files.items()}
        for name, count in counts.items():
            yield name
            yield from (f"{name},{version}" for version in range(count))

    def add_log(
        self, comment: str, issuer: str, tags: list[str], name: str, file: StoredFile | None
    ) -> LogEntry:
        """Add a comment, and the file that it is about if there is one."""
        with LOCK:
            version = self.add_file(name, file) if file else None
            entry = LogEntry(len(self.log) + 1, comment, issuer, tags, name, version)
            self.log.append(entry)
            return entry


class State:
    """All that the server knows."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Record]] = {EVENTS: {}, SUPEREVENTS: {}}

    def add_event(self, submitter: str, properties: JSON) -> Record:
        """Add an event under a new GraceID."""
        prefix = "T" if properties["group"] == "Test" else "G"
        with LOCK:
            key = f"{prefix}{len(self._records[EVENTS]) + 1:04}"
            return self._add(Record(EVENTS, key, submitter, properties))

    def add_superevent(self, submitter: str, properties: JSON) -> Record:
        """Add a superevent, under the date of today and the next letters."""
        with LOCK:
            letters = in_letters(len(self._records[SUPEREVENTS]))
            key = f"S{datetime.now(timezone.utc):%y%m%d}{letters}"
            return self._add(Record(SUPEREVENTS, key, submitter, properties))

    def _add(self, record: Record) -> Record:
        self._records[record.collection][record.key] = record
        return record

    def find(self, collection: str, key: str) -> Record | None:
        """Find one record."""
        with LOCK:
            return self._records[collection].get(key)

    def search(self, collection: str, query: str) -> list[Record]:
        """Find the records that have all the words of the query, newest first."""
        # "group: Test" asks for the same as "Test".
        words = [word for word in query.split() if not word.endswith(":")]
        with LOCK:
            records = list(self._records[collection].values())
        return [record for record in reversed(records) if record.matches(words)]


def in_letters(number: int) -> str:
    """Count a, b, … z, aa, ab, …."""
    rest, last = divmod(number, 26)
    return (in_letters(rest - 1) if rest else "") + chr(ord("a") + last)


# Django's classes can be imported only where Django is configured, so the application is here.
if SERVING:
    import hashlib
    import shutil
    from http.client import responses
    from urllib.parse import urlencode

    import jwt
    from django.conf import settings

    CONFIG = Config(**json.loads(sys.stdin.readline()))
    FILES = Path(CONFIG.directory, "files")
    FILES.mkdir()
    STATE = State()

    settings.configure(
        ALLOWED_HOSTS=["localhost", "127.0.0.1", *CONFIG.names],
        APPEND_SLASH=False,
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        # Every upload goes to a file: its size does not show in the memory of the server, and the
        # file is kept by renaming it.
        FILE_UPLOAD_HANDLERS=["django.core.files.uploadhandler.TemporaryFileUploadHandler"],
        FILE_UPLOAD_TEMP_DIR=str(FILES),
        LOGGING_CONFIG=None,
        MIDDLEWARE=[
            "django.middleware.common.CommonMiddleware",
            f"{__name__}.take_whole_body",
        ],
        REST_FRAMEWORK={
            "DEFAULT_PARSER_CLASSES": [
                "rest_framework.parsers.MultiPartParser",
                "rest_framework.parsers.FormParser",
                "rest_framework.parsers.JSONParser",
            ],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "DEFAULT_THROTTLE_RATES": {"create": CONFIG.throttle},
            "UNAUTHENTICATED_USER": None,
        },
        ROOT_URLCONF=__name__,
        SECRET_KEY=secrets.token_urlsafe(),
        USE_I18N=False,
    )

    from django.core.files.uploadedfile import UploadedFile
    from django.core.wsgi import get_wsgi_application
    from django.http import FileResponse, HttpRequest, HttpResponse
    from django.urls import URLPattern, re_path
    from gunicorn.app.base import BaseApplication
    from rest_framework import serializers
    from rest_framework.authentication import BaseAuthentication, BasicAuthentication
    from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed, NotFound
    from rest_framework.parsers import BaseParser
    from rest_framework.permissions import SAFE_METHODS, BasePermission
    from rest_framework.request import Request
    from rest_framework.response import Response
    from rest_framework.throttling import SimpleRateThrottle
    from rest_framework.views import APIView

    handler500 = "rest_framework.exceptions.server_error"

    def take_whole_body(
        get_response: Callable[[HttpRequest], HttpResponse]
    ) -> Callable[[HttpRequest], HttpResponse]:
        """Make a middleware that reads what the view has left unread of an upload.

        A client that is still sending when the connection closes may never see the answer.
        """
        def middleware(request: HttpRequest) -> HttpResponse:
            response = get_response(request)
            while request.read(65536):
                pass
            return response
        return middleware

    @dataclass(frozen=True)
    class User:
        """Who makes a request, and what they may do."""

        name: str
        scopes: frozenset[str]
        is_authenticated: bool = True

    class TokenAuthentication(BaseAuthentication):
        """Bearer tokens; first of all schemes, so it is what answers those without any."""

        def authenticate(self, request: Request) -> tuple[User, scitokens.SciToken] | None:
            scheme, _, serialized = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return None
            try:
                token, scopes = self.validate(serialized.strip())
            except (
                jwt.PyJWTError,
                scitokens.scitokens.EnforcementError,
                scitokens.scitokens.ValidationFailure,
                scitokens.utils.errors.SciTokensException,
                ValueError,
            ) as error:
                raise AuthenticationFailed("Invalid or expired token.") from error
            return User(token["sub"], scopes), token

        def validate(self, serialized: str) -> tuple[scitokens.SciToken, frozenset[str]]:
            """Check signature and claims, and return the token with its scopes."""
            public_key = CONFIG.public_key.encode("ascii")
            token = scitokens.SciToken.deserialize(serialized, public_key=public_key)
            # Not shared: an Enforcer is for one thread.
            enforcer = scitokens.Enforcer(CONFIG.issuer, audience=CONFIG.audience)
            scopes = frozenset(authz for authz, _ in enforcer.generate_acls(token))
            if not {"aud", "sub"} <= {claim for claim, _ in token.claims()}:
                raise ValueError("a claim is missing")
            return token, scopes

        def authenticate_header(self, request: Request) -> str:
            challenge = 'Bearer realm="gracedb"'
            if "Authorization" not in request.headers:
                return f'{challenge}, Basic realm="gracedb"'
            return f'{challenge}, error="invalid_token"'

    class PasswordAuthentication(BasicAuthentication):
        """HTTP basic authentication, for the one account there is."""

        def authenticate_credentials(
            self, userid: str, password: str, request: Request | None = None
        ) -> tuple[User, None]:
            given = f"{userid}:{password}".encode()
            expected = f"{CONFIG.username}:{CONFIG.password}".encode()
            if not secrets.compare_digest(given, expected):
                raise AuthenticationFailed("Invalid username/password.")
            return User(userid, frozenset(BOTH_SCOPES.split())), None

    class ScopePermission(BasePermission):
        """Reading needs one scope, everything else the other."""

        def has_permission(self, request: Request, view: APIView) -> bool:
            scope = READ_SCOPE if request.method in SAFE_METHODS else CREATE_SCOPE
            self.message = f"This needs the scope {scope}."
            return bool(request.user) and scope in request.user.scopes

    class CreateThrottle(SimpleRateThrottle):
        """A limit on POST requests."""

        scope = "create"

        def get_cache_key(self, request: Request, view: APIView) -> str | None:
            return self.scope if request.method == "POST" else None

    class EventSerializer(serializers.Serializer):
        """An event to create."""

        group = serializers.ChoiceField(GROUPS)
        pipeline = serializers.ChoiceField(PIPELINES)
        search = serializers.ChoiceField(SEARCHES, required=False)
        labels = serializers.ListField(child=serializers.ChoiceField(LABELS), required=False)
        eventFile = serializers.FileField()

    class ReplacementSerializer(serializers.Serializer):
        """A new version of an event."""

        eventFile = serializers.FileField()

    class SupereventSerializer(serializers.Serializer):
        """A superevent to create."""

        preferred_event = serializers.CharField()
        t_start = serializers.FloatField()
        t_0 = serializers.FloatField()
        t_end = serializers.FloatField()
        labels = serializers.ListField(child=serializers.ChoiceField(LABELS), required=False)

        def validate_preferred_event(self, value: str) -> str:
            if STATE.find(EVENTS, value) is None:
                raise serializers.ValidationError("There is no such event.")
            return value

    class LogSerializer(serializers.Serializer):
        """A comment."""

        comment = serializers.CharField()
        tagname = serializers.ListField(child=serializers.CharField(), required=False)
        upload = serializers.FileField(required=False)

    class LabelSerializer(serializers.Serializer):
        """A label."""

        label = serializers.ChoiceField(LABELS)

    class PageSerializer(serializers.Serializer):
        """Which part of a list."""

        start = serializers.IntegerField(min_value=0, default=0)
        count = serializers.IntegerField(min_value=1, default=10)
        query = serializers.CharField(allow_blank=True, default="")

    def validated(serializer: type[serializers.Serializer], data: object) -> dict[str, Any]:
        """Check what a client sent; what is wrong becomes the answer, with status 400."""
        instance = serializer(data=data)
        instance.is_valid(raise_exception=True)
        return dict(instance.validated_data)

    def api_url(request: Request) -> str:
        """Return the URL of the API, by the name that the client uses for this server."""
        return str(request.build_absolute_uri("/api/"))

    def store(upload: UploadedFile) -> StoredFile:
        """Keep an upload."""
        path = FILES / secrets.token_hex()
        Path(upload.temporary_file_path()).rename(path)
        return StoredFile(path, upload.content_type or "application/octet-stream")

    def created(data: JSON, url: str) -> Response:
        """Answer with what has been made, and where it is."""
        return Response(data, status=201, headers={"Location": url})

    class GraceDBView(APIView):
        """A view that asks who is there."""

        authentication_classes = [TokenAuthentication, PasswordAuthentication]
        permission_classes = [ScopePermission]
        throttle_classes = [CreateThrottle]

    class Root(GraceDBView):
        """What there is; the one page that is public."""

        permission_classes = []

        def get(self, request: Request) -> Response:
            api = api_url(request)
            return Response({
                "links": {"self": api, EVENTS: f"{api}events/", SUPEREVENTS: f"{api}superevents/"},
                "server-version": "2.0.0",
                "API_VERSIONS": ["default"],
                "groups": GROUPS,
                "pipelines": PIPELINES,
                "searches": SEARCHES,
                "labels": LABELS,
            })

    class Collection(GraceDBView):
        """A list of records, a page at a time."""

        collection: str

        def get(self, request: Request) -> Response:
            page = validated(PageSerializer, request.query_params)
            start, count = page["start"], page["count"]
            found = STATE.search(self.collection, page["query"])
            starts = {"self": start, "first": 0, "last": max(len(found) - 1, 0) // count * count}
            links: dict[str, str | None] = {
                name: self.page_url(request, {**page, "start": value})
                for name, value in starts.items()
            }
            after = {**page, "start": start + count}
            links["next"] = self.page_url(request, after) if after["start"] < len(found) else None
            api = api_url(request)
            return Response({
                "numRows": len(found),
                "start": start,
                "links": links,
                self.collection: [record.as_json(api) for record in found[start:start + count]],
            })

        def page_url(self, request: Request, page: dict[str, Any]) -> str:
            query = urlencode({name: value for name, value in page.items() if value != ""})
            return str(request.build_absolute_uri(f"{request.path}?{query}"))

        def label_and_answer(self, record: Record, labels: list[str]) -> Response:
            for name in labels:
                record.add_label(name, record.submitter)
            api = api_url(self.request)
            return created(record.as_json(api), record.url(api))

    class Events(Collection):
        """All events."""

        collection = EVENTS

        def post(self, request: Request) -> Response:
            defaults = {"search": None, "far": None, "gpstime": None}
            properties = {**defaults, **validated(EventSerializer, request.data)}
            upload = properties.pop("eventFile")
            labels = properties.pop("labels", [])
            record = STATE.add_event(request.user.name, properties)
            record.add_file(upload.name, store(upload))
            return self.label_and_answer(record, labels)

    class Superevents(Collection):
        """All superevents."""

        collection = SUPEREVENTS

        def post(self, request: Request) -> Response:
            properties = validated(SupereventSerializer, request.data)
            labels = properties.pop("labels", [])
            properties["gw_events"] = [properties["preferred_event"]]
            record = STATE.add_superevent(request.user.name, properties)
            return self.label_and_answer(record, labels)

    class RecordView(GraceDBView):
        """A view of one event or superevent: `record`, to be found at `url`."""

        record: Record
        url: str

        def initial(self, request: Request, collection: str, key: str, **rest: str) -> None:
            super().initial(request)
            record = STATE.find(collection, key)
            if record is None:
                raise NotFound
            self.record = record
            self.url = record.url(api_url(request))

    class Detail(RecordView):
        """The record itself."""

        def get(self, request: Request, **_: str) -> Response:
            return Response(self.record.as_json(api_url(request)))

        def put(self, request: Request, **_: str) -> Response:
            if self.record.collection != EVENTS:
                raise MethodNotAllowed(request.method)
            upload = validated(ReplacementSerializer, request.data)["eventFile"]
            self.record.add_file(upload.name, store(upload))
            return Response(self.record.as_json(api_url(request)), status=202)

    class Files(RecordView):
        """The names of its files."""

        def get(self, request: Request, **_: str) -> Response:
            names = self.record.file_names()
            return Response({name: f"{self.url}files/{quote(name)}" for name in names})

    class FileContent(RecordView):
        """One of its files."""

        def get(self, request: Request, name: str, **_: str) -> FileResponse:
            file = self.record.find_file(name)
            if file is None:
                raise NotFound
            return FileResponse(file.path.open("rb"), filename=name, content_type=file.content_type)

    class Log(RecordView):
        """Its comments."""

        def get(self, request: Request, **_: str) -> Response:
            with LOCK:
                entries = [entry.as_json(self.url) for entry in self.record.log]
            return Response({"numRows": len(entries), "start": 0, "log": entries})

        def post(self, request: Request, **_: str) -> Response:
            data = validated(LogSerializer, request.data)
            upload = data.get("upload")
            entry = self.record.add_log(
                comment=data["comment"],
                issuer=request.user.name,
                tags=data.get("tagname", []),
                name=upload.name if upload else "",
                file=store(upload) if upload else None,
            )
            return created(entry.as_json(self.url), f"{self.url}log/{entry.number}")

    class LogDetail(RecordView):
        """One of its comments."""

        def get(self, request: Request, number: str, **_: str) -> Response:
            with LOCK:
                found = [entry for entry in self.record.log if entry.number == int(number)]
            if not found:
                raise NotFound
            return Response(found[0].as_json(self.url))

    class Labels(RecordView):
        """Its labels."""

        def get(self, request: Request, **_: str) -> Response:
            with LOCK:
                labels = [label.as_json(self.url) for label in self.record.labels.values()]
            return Response({"labels": labels, "links": {"self": f"{self.url}labels/"}})

    class LabelDetail(RecordView):
        """One of its labels."""

        def get(self, request: Request, name: str, **_: str) -> Response:
            with LOCK:
                label = self.record.labels.get(name)
            if label is None:
                raise NotFound
            return Response(label.as_json(self.url))

        def put(self, request: Request, name: str, **_: str) -> Response:
            validated(LabelSerializer, {"label": name})
            label = self.record.add_label(name, request.user.name)
            return created(label.as_json(self.url), f"{self.url}labels/{name}")

        def delete(self, request: Request, name: str, **_: str) -> Response:
            with LOCK:
                label = self.record.labels.pop(name, None)
            if label is None:
                raise NotFound
            return Response(status=204)

    class AnyBodyParser(BaseParser):
        """Whatever the other parsers do not know: described, not kept."""

        media_type = "*/*"

        def parse(self, stream: Any, media_type: object, parser_context: object) -> JSON:
            return describe(iter(lambda: stream.read(65536), b""))

    class OpenView(APIView):
        """A view that is not GraceDB's: there to test clients, for everyone and every method."""

        authentication_classes: list[type[BaseAuthentication]] = []
        permission_classes: list[type[BasePermission]] = []
        parser_classes = [*APIView.parser_classes, AnyBodyParser]

        def respond(self, request: Request, **captured: str) -> HttpResponse:
            raise NotFound

        def get(self, request: Request, **captured: str) -> HttpResponse:
            return self.respond(request, **captured)

        post = put = patch = delete = get

    class Echo(OpenView):
        """Tell what arrived, but for the secret in it."""

        def respond(self, request: Request, **_: str) -> Response:
            headers = dict(request.headers)
            if "Authorization" in headers:
                headers["Authorization"] = headers["Authorization"].partition(" ")[0]
            form = dict(request.POST.lists())
            return Response({
                "method": request.method,
                "path": request.get_full_path(),
                "headers": headers,
                "fields": form,
                "files": [
                    {"name": name, **self.describe_file(file)}
                    for name, files in request.FILES.lists() for file in files
                ],
                "body": None if form or request.FILES else request.data,
            })

        def describe_file(self, file: UploadedFile) -> JSON:
            content = {"filename": file.name, "content_type": file.content_type}
            return {**content, **describe(file.chunks())}

    class Redirect(OpenView):
        """Send the client elsewhere."""

        def respond(self, request: Request, code: str = "302", **_: str) -> HttpResponse:
            url = request.query_params.get("url", "/api/")
            return HttpResponse(status=int(code), headers={"Location": url})

    class Status(OpenView):
        """Answer with the status that is asked for."""

        def respond(self, request: Request, code: str = "200", **_: str) -> Response:
            return Response({"detail": responses.get(int(code), "Unknown")}, status=int(code))

    def describe(chunks: Iterator[bytes]) -> JSON:
        """Measure some content."""
        digest = hashlib.sha256()
        size = 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
        return {"size": size, "sha256": digest.hexdigest()}

    def route(pattern: str, view: type[APIView]) -> URLPattern:
        """Serve a view with and without a slash at the end, as GraceDB does."""
        return re_path(rf"^api/{pattern}/?$", view.as_view())

    record = r"(?P<collection>events|superevents)/(?P<key>\w+)"

    urlpatterns = [
        re_path("^api/?$", Root.as_view()),
        route("events", Events),
        route("superevents", Superevents),
        route(record, Detail),
        route(rf"{record}/files", Files),
        route(rf"{record}/files/(?P<name>[^/]+)", FileContent),
        route(rf"{record}/log", Log),
        route(rf"{record}/log/(?P<number>\d+)", LogDetail),
        route(rf"{record}/labels", Labels),
        route(rf"{record}/labels/(?P<name>\w+)", LabelDetail),
        route("echo", Echo),
        route(r"redirect/(?P<code>30[12378])", Redirect),
        route(r"status/(?P<code>[2-5]\d\d)", Status),
        re_path("", OpenView.as_view()),
    ]

    class Server(BaseApplication):
        """gunicorn, with the one worker process that has the state."""

        def load_config(self) -> None:
            for name, value in {
                "bind": f"fd://{CONFIG.descriptor}",
                "certfile": f"{CONFIG.directory}/server.pem",
                "control_socket_disable": True,
                "graceful_timeout": 1,
                "keepalive": 60,
                "loglevel": "warning",
                "on_exit": remove_directory,
                "post_fork": watch_parent,
                "threads": 16,
                "worker_class": "gthread",
                "workers": 1,
            }.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return get_wsgi_application()

    def remove_directory(arbiter: object) -> None:
        """Remove what is left of the server, should nobody else be there to do so."""
        shutil.rmtree(CONFIG.directory, ignore_errors=True)

    def watch_parent(arbiter: object, worker: object) -> None:
        """End gunicorn when the process that started it has gone, for whatever reason."""
        threading.Thread(target=quit_at_end_of_input, daemon=True).start()

    def quit_at_end_of_input() -> None:
        """Wait for the end of standard input: nothing else comes from there."""
        os.read(0, 1)
        os.kill(os.getppid(), signal.SIGINT)


if __name__ == "__main__":
    Server().run() if SERVING else main()
