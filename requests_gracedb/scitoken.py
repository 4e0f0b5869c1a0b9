"""Bearer tokens that other programs renew on disk."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
import time
import warnings
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import datetime, timezone
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, Union

from .credential import CredentialAuth, Origin

if TYPE_CHECKING:
    from scitokens import SciToken

_MAXIMUM_SIZE = 64 * 1024  # bytes
_B64TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_TMP = "/tmp"  # nosec: that it is this directory is what the specification says
# Audiences that are any server: that of SciTokens and that of WLCG Common JWT Profiles.
_ANY_AUDIENCE = {"ANY", "https://wlcg.cern.ch/jwt/v1/any"}
_DEFAULT_LIFETIME = 600  # seconds, the default of scitokens.SciToken.serialize

_logger = logging.getLogger(__name__)

Token = Union[str, "os.PathLike[str]", "SciToken"]


class SciTokenAuth(CredentialAuth):
    """Bearer authentication (RFC 6750) with a SciToken, or any other bearer token.

    The token is read once, here. With ``auth_reload`` it is read again when it is about to expire,
    and when a server answers 401 although the file holds another token by now; the request is then
    repeated. In between, a request costs no input or output. A reload that fails, because the file
    is being rewritten, say, leaves the token in use and is logged as a warning.

    Claims are read without verifying the signature, which is the server's business.

    A pickle of it holds the name of the file, not the token, which is read where the pickle is
    loaded. With a `scitokens.SciToken`, it holds that; one with a private key does not pickle.

    Parameters
    ----------
    token : str, os.PathLike or scitokens.SciToken
        The name of a file that holds one bearer token and white space at most around it, or a
        token. A `scitokens.SciToken` is sent as it was serialized; one with a private key is
        serialized for as long as it was before (600 seconds if it was not), and again before it
        expires if ``auth_reload`` is set.
    auth_reload : bool, default False
        Whether to read the token again.
    auth_reload_timeout : float, default 300
        How many seconds before the token's ``exp`` to do so.

    Raises
    ------
    OSError
        The file cannot be read, or another user could have written it.
    ValueError
        It holds something else than one bearer token. The content is not shown.
    TypeError
        ``token`` is neither a path nor a `scitokens.SciToken`.

    Warns
    -----
    UserWarning
        Other users can read the file.

    Examples
    --------
    >>> auth = SciTokenAuth("bt_u1000", auth_reload=True)
    >>> session.get("https://gracedb.ligo.org/api/events/", auth=auth)
    """

    def __init__(
        self, token: Token, auth_reload: bool = False, auth_reload_timeout: float = 300
    ) -> None:
        self._start(_source(token), auth_reload_timeout if auth_reload else None)

    @classmethod
    def discover(
        cls, auth_reload: bool = False, auth_reload_timeout: float = 300
    ) -> SciTokenAuth | None:
        """Look for a token in the places of WLCG Bearer Token Discovery.

        They are ``$BEARER_TOKEN``, which holds the token itself, the file ``$BEARER_TOKEN_FILE``,
        and the files ``$XDG_RUNTIME_DIR/bt_u$UID`` and ``/tmp/bt_u$UID``. A file that is not there
        or not readable is passed over.

        Parameters
        ----------
        auth_reload : bool, default False
        auth_reload_timeout : float, default 300
            See `SciTokenAuth`.

        Returns
        -------
        SciTokenAuth or None
            None if there is no token in any of them.

        Raises
        ------
        OSError, ValueError
            There is one, but it cannot be used: see `SciTokenAuth`.
        """
        for source in discovery_places():
            if source.is_there:
                auth = cls.__new__(cls)
                auth._start(source, auth_reload_timeout if auth_reload else None)
                return auth
        return None

    def __repr__(self) -> str:
        date = _date(self._expiry)
        expiry = "does not expire" if date is None else f"expires {date}"
        return f"<SciTokenAuth {self.place}, {expiry}>"

    @property
    def place(self) -> str:
        """Where the token comes from."""
        return str(self._source)

    def __getstate__(self) -> tuple[_TokenSource, float | None, Origin | None]:
        return self._source, self._auth_reload_timeout, self.only_origin

    def __setstate__(self, state: tuple[_TokenSource, float | None, Origin | None]) -> None:
        self._start(*state[:2])
        self.only_origin = state[2]

    def authorization(self, origin: Origin) -> str:
        """Get the value of the Authorization header."""
        authorization = self._authorization
        if time.time() >= self._reload_at:
            self._reload(authorization)
        return self._authorization

    def renewed(self, rejected: str) -> str | None:
        """Read the token again, if that was not done since the rejected one was read."""
        if self._auth_reload_timeout is not None and self._source.is_external:
            self._reload(rejected)
        return self._authorization if self._authorization != rejected else None

    def describe(self) -> dict[str, Any]:
        """Tell the claims of the token, and whether they fit the only origin that gets it."""
        claims = unverified_claims(self._token)
        audience = claims.get("aud")
        return {
            "issuer": claims.get("iss"),
            "subject": claims.get("sub"),
            "audience": audience,
            "audience_fits": self.only_origin and _fits(audience, self.only_origin),
            "scope": claims.get("scope"),
            "issued": _date(claims.get("iat")),
            "not_before": _date(claims.get("nbf")),
            "expires": _date(claims.get("exp")),
            "is_expired": self._expiry <= time.time(),
        }

    def _start(self, source: _TokenSource, auth_reload_timeout: float | None) -> None:
        self._source = source
        self._auth_reload_timeout = auth_reload_timeout
        self._lock = Lock()
        self._readings = 0
        self._use(source.read())
        if source.warning:
            warnings.warn(source.warning, stacklevel=3)

    def _use(self, token: str) -> None:
        self._token = token
        self._authorization = f"Bearer {token}"
        self._expiry = expiry_of(token)
        timeout = self._auth_reload_timeout
        if timeout is not None and not self._source.is_external:
            # Each reading is a new token, and none lives longer than the first.
            timeout = min(timeout, (self._expiry - time.time()) / 2)
        self._reload_at = inf if timeout is None else self._expiry - timeout

    def _reload(self, stale: str) -> None:
        """Read the token again, once for all the threads that found it stale at the same time."""
        readings = self._readings
        with self._lock:
            if self._authorization != stale or self._readings != readings:
                return
            self._readings += 1
            try:
                token = self._source.read()
            except (OSError, ValueError) as error:
                _logger.warning("%s; the token that was read before stays in use", error)
                return
            if _is_cut_off(token, self._token):
                _logger.warning("%s is half written; the token before stays in use", self._source)
            elif token != self._token:
                self._use(token)


def discovery_places() -> list[_TokenSource]:
    """List the places of WLCG Bearer Token Discovery, whether there is a token or not.

    Returns
    -------
    list
        In the order of the specification.
    """
    name = f"bt_u{os.geteuid()}"
    runtime_directory = os.environ.get("XDG_RUNTIME_DIR")
    paths = (
        os.environ.get("BEARER_TOKEN_FILE"),
        runtime_directory and os.path.join(runtime_directory, name),
        os.path.join(_TMP, name),
    )
    files = [_TokenFile(os.path.abspath(path)) for path in paths if path]
    return [_TokenVariable("BEARER_TOKEN"), *files]


def describe_places() -> Iterator[tuple[str, str]]:
    """Tell what there is in each place of WLCG Bearer Token Discovery.

    Yields
    ------
    tuple of two str
        A place, and what was found there. No secrets.
    """
    for source in discovery_places():
        place = str(source)
        if source.is_there:
            try:
                yield place, _time_left(expiry_of(source.read()))
            except OSError as error:
                yield place, error.strerror or str(error)
            except ValueError as error:
                yield place, str(error)
        else:
            yield place, "passed over: unreadable" if source.exists else "absent"


def unverified_claims(token: str) -> dict[str, Any]:
    """Get the claims of a JSON Web Token (RFC 7519) without verifying anything.

    Parameters
    ----------
    token : str
        Any bearer token.

    Returns
    -------
    dict
        Empty if the token is not a JSON Web Token.
    """
    try:
        claims = json.loads(_decoded(token.split(".")[1]))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def expiry_of(token: str) -> float:
    """Get the time at which a JSON Web Token expires, without verifying anything.

    Parameters
    ----------
    token : str
        Any bearer token.

    Returns
    -------
    float
        Seconds since the epoch; infinity for a token without ``exp``.
    """
    expiry = unverified_claims(token).get("exp")
    try:
        return float(expiry) if isinstance(expiry, (int, float)) else inf
    except OverflowError:
        return inf


def _fits(audience: Any, origin: Origin) -> bool:
    """Tell whether a server takes tokens for this audience: one without is for all (RFC 7519)."""
    audiences = audience if isinstance(audience, list) else [audience]
    return audience is None or any(_is_server(str(each), origin) for each in audiences)


def _is_server(audience: str, origin: Origin) -> bool:
    if audience in _ANY_AUDIENCE or audience.lower() == origin.host:
        return True
    try:
        return Origin.of(audience) == origin
    except ValueError:
        return False


def _date(seconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _time_left(expires_at: float) -> str:
    seconds = expires_at - time.time()
    if seconds == inf:
        return "a token that does not expire"
    text = "0 s"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= unit:
            text = f"{abs(seconds) // unit:.0f} {name}"
            break
    return f"a token that expires in {text}" if seconds > 0 else f"a token that expired {text} ago"


def _source(token: Token) -> _TokenSource:
    if isinstance(token, (str, os.PathLike)):
        return _TokenFile(os.path.abspath(token))
    from scitokens import SciToken

    if isinstance(token, SciToken):
        return _TokenObject(token)
    raise TypeError(
        f"a token is the name of a file or a scitokens.SciToken, not {type(token).__name__}"
    )


class _TokenSource:
    is_external = True
    warning = ""

    @property
    def exists(self) -> bool:
        """Whether there is anything, were it unreadable."""
        return True

    @property
    def is_there(self) -> bool:
        """Whether there is something to read."""
        return True

    def read(self) -> str:
        raise NotImplementedError


class _TokenFile(_TokenSource):
    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def exists(self) -> bool:
        return os.path.exists(self._path)

    @property
    def is_there(self) -> bool:
        return os.path.isfile(self._path) and os.access(self._path, os.R_OK)

    def __str__(self) -> str:
        return f"token file {self._path}"

    def read(self) -> str:
        try:
            # Without a buffer, one system call reads it all: the file may be rewritten any time.
            with open(self._path, "rb", buffering=0) as file:
                self._check(os.fstat(file.fileno()))
                content = file.read(_MAXIMUM_SIZE + 1) or b""
        except OSError as error:
            problem = f"cannot read the token file ({error.strerror}): get a token, or name another"
            raise OSError(error.errno, problem, self._path) from error
        return _bearer_token(content, str(self))

    def _check(self, status: os.stat_result) -> None:
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                errno.EPERM, "another user may have written it: run chmod 600 on a file of your own"
            )
        if status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            self.warning = f"other users can read the {self}: run chmod 600 {self._path}"


class _TokenVariable(_TokenSource):
    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def exists(self) -> bool:
        return self._name in os.environ

    @property
    def is_there(self) -> bool:
        return bool(os.environ.get(self._name))

    def __str__(self) -> str:
        return f"environment variable {self._name}"

    def read(self) -> str:
        return _bearer_token(os.fsencode(os.environ.get(self._name, "")), str(self))


class _TokenObject(_TokenSource):
    is_external = False

    def __init__(self, token: SciToken) -> None:
        self._token = token
        self._is_read = False

    def __str__(self) -> str:
        return "SciToken"

    def read(self) -> str:
        # scitokens (1.9) has no public name for what a token was serialized to or deserialized
        # from, and serialize() works with a key only.
        serialized: str | None = self._token._serialized_token
        can_serialize = self._token._key is not None
        if can_serialize and (self._is_read or serialized is None):
            serialized = self._serialize(self._lifetime(serialized))
        if serialized is None:
            raise ValueError("the SciToken was never serialized, and has no private key for that")
        self._is_read = True
        return _bearer_token(serialized.encode(), str(self))

    def _serialize(self, lifetime: int) -> str:
        try:
            return str(self._token.serialize(lifetime=lifetime), "ascii")
        except Exception as error:  # Those of scitokens and PyJWT have nothing else in common.
            raise ValueError(f"the SciToken cannot be serialized: {error}") from error

    def _lifetime(self, serialized: str | None) -> int:
        claims = unverified_claims(serialized or "")
        try:
            return int(claims["exp"] - claims["iat"])
        except (KeyError, TypeError):
            return _DEFAULT_LIFETIME


def _bearer_token(content: bytes, name: str) -> str:
    # Nothing of the content may get into a message, nor into an exception chained to it.
    token = content.strip()
    if len(content) > _MAXIMUM_SIZE:
        raise ValueError(f"the {name} has over {_MAXIMUM_SIZE} bytes, no bearer token has")
    if not token:
        raise ValueError(f"the {name} is empty")
    if not _B64TOKEN.fullmatch(token):
        raise ValueError(f"the {name} holds something else than one bearer token (RFC 6750)")
    return token.decode()


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_cut_off(token: str, previous: str) -> bool:
    """Tell whether a token has an end missing, next to one that was read when it was whole.

    A signature of the same key and algorithm, which the header names, has the same length.
    """
    # JSON starts with a brace: what does not, in Base64, is no part of a JSON Web Token.
    if not unverified_claims(previous) or not re.match("e(?:[w-z]|$)", token):
        return False
    header, _, rest = token.partition(".")
    previous_header, _, previous_rest = previous.partition(".")
    signature, previous_signature = rest.partition(".")[2], previous_rest.partition(".")[2]
    complete = len(previous_signature)
    if header != previous_header:
        complete = min(1, complete)
    return not unverified_claims(token) or len(signature) < complete
