"""What the views have in common."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from ..state import AnyRecord, Event, Record, StoredFile, Superevent
from ..vocabulary import LABELS
from .authentication import (
    CONFIG, STATE, AnnotationThrottle, AnonymousThrottle, IsMember, IsMemberOrReads,
    PasswordAuthentication, TokenAuthentication,
)

FILES = Path(CONFIG.directory, "files")

JSON = dict[str, Any]


class Text(APIException):
    """An error that Django answers as it does by default: plain text that says it is HTML."""

    def __init__(self, status_code: int, text: str) -> None:
        super().__init__(text)
        self.status_code = status_code


class Gone(APIException):
    """What GraceDB no longer does."""

    status_code = 410
    default_detail = "GraceDB has given up this functionality."


class Refused(APIException):
    """An error with its own format."""

    status_code = 400

    def __init__(self, answer: JSON) -> None:
        super().__init__()
        self.answer = answer


def handle(error: Exception, context: object) -> Response | HttpResponse | None:
    """Turn an exception into an answer."""
    if isinstance(error, Text):
        return HttpResponse(str(error.detail), status=error.status_code)
    response = exception_handler(error, context)
    if isinstance(error, Refused):
        response.data = error.answer
    elif isinstance(error, ValidationError):
        messages = list(_messages(error.detail))
        response.data = messages[0] if len(messages) == 1 else messages
    return response


def _messages(detail: Any) -> Iterator[str]:
    """Flatten the errors of fields, whose names are lost."""
    if isinstance(detail, str):
        yield str(detail)
    else:
        for inner in detail.values() if isinstance(detail, dict) else detail:
            yield from _messages(inner)


class GraceDBView(APIView):
    """A view for members, which checks who they are."""

    authentication_classes = [TokenAuthentication, PasswordAuthentication]
    permission_classes: list[type] = [IsMember]
    throttle_classes: list[type] = [AnonymousThrottle, AnnotationThrottle]

    @property
    def api(self) -> str:
        """The URL of the API, by the name and in the version that the client uses."""
        prefix = re.match("/api/(v[12]/)?", self.request.path)
        return str(self.request.build_absolute_uri(prefix and prefix.group()))

    @property
    def is_v2(self) -> bool:
        """Whether the client uses the second version of the API."""
        return self.api.endswith("/v2/")


class RecordView(GraceDBView):
    """A view of one event or superevent: `record`, to be found at `url`."""

    collection = "events"
    record: Record
    url: str

    def get_permissions(self) -> list[Any]:
        """Get the rules: superevents may be public."""
        return [IsMember() if self.collection == "events" else IsMemberOrReads()]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the record, once the request is permitted."""
        super().initial(request, *args, **kwargs)
        key = kwargs["key"]
        self.record = (
            find_event(key) if self.collection == "events" else find_superevent(key, request)
        )
        self.url = f"{self.api}{self.collection}/{self.record.key}/"


class Lists(GraceDBView):
    """A list of records, a page at a time."""

    collection: str

    def page(self, records: list[AnyRecord]) -> tuple[list[AnyRecord], JSON]:
        """Find the records that a request asks for, and begin the answer."""
        fields = validated(PageSerializer, self.request.query_params)
        start, number = fields["start"], min(fields["count"], 1000)
        try:
            found = STATE.search(records, self.query(fields["query"]), start, number, type(self))
        except ValueError as error:
            raise Refused({"error": str(error)}) from error
        last = max(found.number - 1, 0) // number * number
        links: dict[str, str | None] = {
            name: self._page_url(fields, value)
            for name, value in {"self": start, "first": 0, "last": last}.items()
        }
        follows = start + number
        links["next"] = self._page_url(fields, follows) if follows < found.number else None
        return found.records, {"numRows": found.number, "start": start, "links": links}

    def query(self, query: str) -> str:
        """Get the query as text."""
        if not (self.is_v2 and query.startswith("{")):
            return query
        fields = serializers.JSONField(binary=True).to_internal_value(query)
        return " ".join(f'{name}: "{value}"' for name, value in fields.items())

    def _page_url(self, fields: JSON, start: int) -> str:
        values = {name: value for name, value in fields.items() if value != ""}
        query = urlencode({**values, "start": start})
        return str(self.request.build_absolute_uri(f"{self.request.path}?{query}"))


class PageSerializer(serializers.Serializer):
    """Which part of a list."""

    start = serializers.IntegerField(min_value=0, default=0)
    count = serializers.IntegerField(min_value=1, default=100)
    query = serializers.CharField(allow_blank=True, default="")


def find_event(key: str) -> Event:
    """Find an event, or answer that there is none."""
    event = STATE.find_event(key, CONFIG.knows_content_id)
    if event is None:
        raise Text(404, "Event not found.")
    return event


def find_superevent(key: str, request: Request) -> Superevent:
    """Find a superevent; answer that there is none, also to those who may not see it."""
    superevent = STATE.find_superevent(key)
    if superevent is None or not may_see(superevent, request):
        raise NotFound
    return superevent


def may_see(superevent: Superevent, request: Request) -> bool:
    """Tell whether whoever asks may see a superevent."""
    return superevent.is_exposed or bool(request.user and request.user.is_member)


def valid_label(name: str) -> str:
    """Answer that there is no such label, if there is none."""
    if name not in LABELS:
        raise Refused({"error": f"{name} is not a valid label."})
    return name


def validated(serializer: type[serializers.Serializer], data: object, **options: Any) -> JSON:
    """Check what a client sent; mistakes become the answer, with status 400."""
    instance = serializer(data=data, **options)
    instance.is_valid(raise_exception=True)
    return dict(instance.validated_data)


def store(upload: UploadedFile) -> StoredFile:
    """Keep an upload."""
    path = FILES / secrets.token_hex()
    Path(upload.temporary_file_path()).rename(path)
    return StoredFile(path, upload.content_type or "application/octet-stream")


def created(data: Any, url: str) -> Response:
    """Answer with what was created, and its URL."""
    return Response(data, status=201, headers={"Location": url})
