"""Keep secrets out of a text, in whatever encoding a server has put them there."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit


# What an escape begins with, and what it looks like. One encoding at a time: in "password=ab%2Fc"
# the equals sign is not part of an escape.
_ENCODINGS = {
    # Percent-encoded.
    "%": r"% (?P<byte> [0-9a-f]{2}) | (?P<plain> [!-$&-~]+)",
    # HTML.
    "&": r"(?P<entity> & \#? \w+ ;?) | (?P<plain> [!-%'-~]+)",
    # JSON, and how Python and others show bytes.
    "\\": r"\\u (?P<code> [0-9a-f]{4}) | \\x (?P<byte> [0-9a-f]{2}) | \\[bfnrt]"
    r"| \\ (?P<escaped> .) | (?P<plain> [!-\[\]-~]+)",
    # Quoted-printable.
    "=": r"= (?P<byte> [0-9a-f]{2}) | = \s+ | (?P<plain> [!-<>-~]+)",
}
# None, except that a line may be broken in the middle of a secret.
_UNENCODED = r"(?P<plain> [!-~]+)"
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_LONGEST_ENTITY = 64  # characters; Python refuses to read a number with more than 4300 digits
_SHORTEST = 4  # characters of base64; fewer may be a coincidence


class Redaction:
    """A callable that removes secrets from a text.

    It finds them as they are, percent-encoded, with the escapes of HTML, JSON and quoted-printable,
    broken across lines, and in base64, alone or as part of something longer.

    Parameters
    ----------
    secrets : iterable of str
        Such as tokens and passwords. Empty ones do not count.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._traces = {trace for secret in self._secrets for trace in _traces(secret)}

    def __call__(self, text: str) -> str:
        """Get the text on one line, without secrets or control characters.

        Parameters
        ----------
        text : str

        Returns
        -------
        str
            With three asterisks in place of each secret.
        """
        for secret in self._secrets:
            text = text.replace(secret, "***")
        for escape, escapes in _ENCODINGS.items() if self._secrets else ():
            if escape in text:
                text = self._without_traces(text, _encoding(escapes))
        visible = _visible(text).encode("utf-8", "surrogatepass")
        if any(trace in visible for trace in self._traces):
            text = self._without_traces(text, _encoding(_UNENCODED))
        return "".join(filter(str.isprintable, " ".join(text.split())))

    def _without_traces(self, text: str, encoding: re.Pattern[str]) -> str:
        decoded, starts, ends = _decode(text, encoding)
        pieces: list[str] = []
        position = 0
        for start, end in sorted(_find_all(decoded, self._traces)):
            if starts[start] >= position:
                pieces += text[position : starts[start]], "***"
            position = max(position, ends[end - 1])
        return "".join([*pieces, text[position:]])


def shown_url(url: str) -> str:
    """Get a URL without what may be secret: user and password, query, and fragment.

    Parameters
    ----------
    url : str

    Returns
    -------
    str
    """
    scheme, netloc, path, _, _ = urlsplit(url)
    return urlunsplit((scheme, netloc.rpartition("@")[2], path, "", ""))


@lru_cache
def _encoding(escapes: str) -> re.Pattern[str]:
    return re.compile(
        # Invisible characters do not count: a line may be broken in the middle of a secret.
        rf"{escapes} | [\s\x00-\x1f\x7f]+ | (?P<character>.)",
        re.IGNORECASE | re.VERBOSE | re.DOTALL,
    )


def _traces(secret: str) -> Iterator[bytes]:
    """Tell what a decoded text contains if the secret is in it."""
    for encoding in ("utf-8",) if secret.isascii() else ("utf-8", "latin-1"):
        try:
            yield from _in_base64(secret.encode(encoding))
            for text in (secret, secret.replace(" ", "+")):  # as in a form
                if visible := _visible(text):
                    yield visible.encode(encoding)
        except UnicodeEncodeError:
            pass  # It cannot have been sent like that.


def _in_base64(secret: bytes) -> Iterator[bytes]:
    for before in range(3):
        encoded = b64encode(bytes(before) + secret)
        # The first and the last character may depend on what is around the secret.
        alone = encoded[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        if len(alone) >= _SHORTEST:
            yield alone
            yield alone.translate(_URLSAFE)


def _decode(source: str, encoding: re.Pattern[str]) -> tuple[bytes, list[int], list[int]]:
    """Undo an encoding, and tell where in the text each byte begins and ends."""
    decoded = bytearray()
    starts: list[int] = []
    ends: list[int] = []
    for token in encoding.finditer(source):
        start, end = token.span()
        if token.lastgroup == "plain":
            decoded += token[0].encode()
            starts += range(start, end)
            ends += range(start + 1, end + 1)
        else:
            piece = _decode_token(token)
            decoded += piece
            starts += [start] * len(piece)
            ends += [end] * len(piece)
    return bytes(decoded), starts, ends


def _decode_token(token: re.Match[str]) -> bytes:
    kind = token.lastgroup
    if kind is None:
        return b""
    text = token[kind]
    if kind == "byte":
        byte = bytes.fromhex(text)
        return byte if byte > b" " else b""
    if kind == "code":
        text = chr(int(text, 16))
    elif kind == "entity":
        import html  # It is large, and few errors contain an entity.

        text = html.unescape(text) if len(text) <= _LONGEST_ENTITY else text
    return _visible(text).encode("utf-8", "surrogatepass")


def _visible(text: str) -> str:
    """Get the visible characters: a token has no others."""
    if text.isascii() and text.isprintable():
        return text.replace(" ", "")
    return "".join(c for c in text if c.isprintable() and not c.isspace())


def _find_all(text: bytes, traces: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    for trace in traces:
        start = text.find(trace)
        while start >= 0:
            yield start, start + len(trace)
            start = text.find(trace, start + 1)
