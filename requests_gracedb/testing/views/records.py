"""What events and superevents have in common: files, log entries, tags, labels."""

from __future__ import annotations

import re
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from ..faults import STORE_FILE_ONLY
from ..state import LogEntry, StoredFile
from ..vocabulary import LABELS, TAGS
from . import shapes
from .base import JSON, RecordView, Refused, Text, created, store, valid_label, validated


class Files(RecordView):
    """The names of its files."""

    def get(self, request: Request, **_: str) -> Response:
        """List them."""
        return Response(shapes.files(self.record, self.url, self.is_v2))


class FileContent(RecordView):
    """One of its files."""

    def get(self, request: Request, name: str, **_: str) -> FileResponse:
        """Send it."""
        file = self.record.find_file(name)
        if file is None:
            raise Text(404, "File not found.")
        return FileResponse(file.path.open("rb"), filename=name, content_type=file.content_type)


class LogSerializer(serializers.Serializer):
    """A comment."""

    comment = serializers.CharField(allow_blank=True)
    tagname = serializers.ListField(child=serializers.CharField(), required=False)
    displayName = serializers.ListField(child=serializers.CharField(), required=False)  # noqa: N815
    label = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    upload = serializers.FileField(required=False)


class TagSerializer(serializers.Serializer):
    """A tag."""

    name = serializers.CharField()
    displayName = serializers.CharField(required=False)  # noqa: N815


class LabelSerializer(serializers.Serializer):
    """A label."""

    name = serializers.CharField()


class Log(RecordView):
    """Its comments."""

    log_name = "log"

    def get(self, request: Request, **_: str) -> Response:
        """List them."""
        entries = [self._describe(entry) for entry in self.record.log]
        name = "logs" if self.is_v2 else "log"
        return Response({"numRows": len(entries), "start": 0, name: entries})

    def post(self, request: Request, **_: str) -> Response:
        """Add one, then its tags and its label: if one is refused, the comment stays."""
        data = validated(LogSerializer, request.data)
        name, file = _stored(data.get("upload"))
        if file and request.META.get(STORE_FILE_ONLY):
            self.record.add_file(name, file)
            return Response()
        entry = self.record.add_log(data["comment"], request.user.name, name, file)
        entry.tags.update(_tags(data))
        if data.get("label"):
            self.record.add_label(valid_label(data["label"]), request.user.name)
        answer = self._describe(entry)
        return created(answer, answer["self"])

    def _describe(self, entry: LogEntry) -> dict[str, Any]:
        return shapes.log_entry(entry, self.url, self.log_name)


def _stored(upload: UploadedFile | None) -> tuple[str, StoredFile | None]:
    """Keep the file of a log entry, unless there is none, or its name has a comma in it."""
    if upload is None or "," in upload.name:
        return "", None
    return upload.name, store(upload)


def _tags(data: JSON) -> dict[str, str]:
    displayed = iter(data.get("displayName") or [])
    names = map(_valid_tag, data.get("tagname") or [])
    return {name: next(displayed, TAGS.get(name, "")) for name in names}


def _valid_tag(name: str) -> str:
    """Answer that this cannot be a tag, if so."""
    if not re.fullmatch(r"[\w -]+", name):
        raise Refused({"error": f"{name} is not a valid tag."})
    return name


class LogView(RecordView):
    """A view of one of its comments: `entry`."""

    log_name = "log"
    entry: LogEntry

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the comment."""
        super().initial(request, *args, **kwargs)
        entry = self.record.find_log(int(kwargs["number"]))
        if entry is None:
            raise NotFound
        self.entry = entry

    @property
    def entry_url(self) -> str:
        """Where the comment is."""
        return f"{self.url}{self.log_name}/{self.entry.number}"


class LogDetail(LogView):
    """One of its comments."""

    def get(self, request: Request, **_: str) -> Response:
        """Describe it."""
        return Response(shapes.log_entry(self.entry, self.url, self.log_name))


class Tags(LogView):
    """The tags of a comment."""

    def get(self, request: Request, **_: str) -> Response:
        """List them."""
        names = list(self.entry.tags)
        return Response({"tags": [shapes.tag(self.entry, name, self.entry_url) for name in names]})

    def post(self, request: Request, **_: str) -> Response:
        """Add one."""
        data = validated(TagSerializer, request.data)
        return self.add(data["name"], data.get("displayName"))

    def add(self, name: str, displayed: str | None) -> Response:
        """Add a tag, and say so."""
        self.entry.tags.setdefault(_valid_tag(name), displayed or TAGS.get(name, ""))
        answer = shapes.tag(self.entry, name, self.entry_url)
        return created(answer, f"{self.entry_url}/tag/{name}")


class TagDetail(Tags):
    """A tag of a comment."""

    def get(self, request: Request, name: str = "", **_: str) -> Response:
        """Describe it."""
        self._find(name)
        return Response(shapes.tag(self.entry, name, self.entry_url))

    def put(self, request: Request, name: str, **_: str) -> Response:
        """Add it."""
        return self.add(name, request.data.get("displayName"))

    def delete(self, request: Request, name: str, **_: str) -> Response:
        """Take it away."""
        self._find(name)
        del self.entry.tags[name]
        return Response(status=204)

    def _find(self, name: str) -> None:
        if name not in self.entry.tags:
            raise NotFound


class Labels(RecordView):
    """Its labels."""

    def get(self, request: Request, **_: str) -> Response:
        """List them."""
        labels = [shapes.label(label, self.url) for label in list(self.record.labels.values())]
        return Response({"labels": labels, "links": {"self": f"{self.url}labels/"}})


class SupereventLabels(Labels):
    """The labels of a superevent."""

    def post(self, request: Request, **_: str) -> Response:
        """Add one that is not there."""
        name = validated(LabelSerializer, request.data)["name"]
        if name not in LABELS:
            raise ValidationError(f"{name} is not a valid label.")
        if not self.record.add_label(name, request.user.name):
            raise ValidationError(f"Label {name} already applied to {self.record.key}.")
        label = shapes.label(self.record.labels[name], self.url)
        return created(label, label["self"])


class LabelDetail(RecordView):
    """One of its labels."""

    def get(self, request: Request, name: str, **_: str) -> Response:
        """Describe it."""
        if name not in self.record.labels:
            raise NotFound
        return Response(shapes.label(self.record.labels[name], self.url))

    def delete(self, request: Request, name: str, **_: str) -> Response:
        """Take it away."""
        if self.record.labels.pop(name, None) is None:
            raise NotFound
        return Response(status=204)


class EventLabelDetail(LabelDetail):
    """One of the labels of an event."""

    def put(self, request: Request, name: str, **_: str) -> Response:
        """Add it, if it is not there."""
        is_new = self.record.add_label(valid_label(name), request.user.name)
        # The first version of the API answers with a string that has an object in it.
        return Response({} if self.is_v2 else "{}", status=201 if is_new else 200)
