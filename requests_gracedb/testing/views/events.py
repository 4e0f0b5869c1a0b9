"""Events: the list of all of them, uploads, and each of them."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from ..config import UPLOAD
from ..event_file import Reading, read
from ..state import Event
from ..vocabulary import DISABLED_PIPELINES, GROUPS, LABELS, PIPELINES, SEARCHES
from . import shapes
from .authentication import STATE, AnonymousThrottle, CreationThrottle
from .base import JSON, GraceDBView, Gone, Lists, RecordView, Refused, Text, created, store

_REPLAY_ID = re.compile(r"[\w.+-]{1,30}", re.ASCII)


class EventForm(forms.Form):
    """An event to create."""

    group = forms.ChoiceField(choices=[(name, name) for name in GROUPS])
    pipeline = forms.ChoiceField(choices=[(name, name) for name in PIPELINES])
    search = forms.ChoiceField(choices=[("", ""), *((name, name) for name in SEARCHES)],
                               required=False)
    labels = forms.MultipleChoiceField(choices=[(name, name) for name in LABELS], required=False)
    offline = forms.BooleanField(required=False)
    content_id = forms.UUIDField(required=False)
    instruments = forms.CharField(required=False)
    replay_id = forms.CharField(required=False, strip=False)
    eventFile = forms.FileField()  # noqa: N815


class ReplacementForm(forms.Form):
    """A new version of an event."""

    eventFile = forms.FileField()  # noqa: N815


class Events(Lists):
    """All events."""

    throttle_classes = [AnonymousThrottle, CreationThrottle]

    def get(self, request: Request) -> Response:
        """Answer with some of them."""
        found, answer = self.page(list(STATE.events.values()))
        return Response({**answer, "events": [shapes.event(event, self.api) for event in found]})

    def post(self, request: Request) -> Response:
        """Create one."""
        _check_pipeline(request)
        fields = checked(EventForm, request)
        upload, labels = fields.pop("eventFile"), fields.pop("labels")
        instruments = fields.pop("instruments")
        file, fields["warnings"] = store(upload), []
        fields["reading"] = _read(file.path, fields["warnings"])
        fields["reading"].instruments = fields["reading"].instruments or instruments
        _check_replay_id(fields)
        fields["search"] = fields["search"] or None
        fields["content_id"] = fields["content_id"] and str(fields["content_id"])
        event = STATE.add_event(request.user.name, **fields)
        event.add_log("Original Data", request.user.name, upload.name, file)
        for name in labels:
            event.add_label(name, request.user.name)
        data = shapes.event(event, self.api)
        return created(data, data["links"]["self"])


class EventDetail(RecordView):
    """An event."""

    record: Event

    def get(self, request: Request, **_: str) -> Response:
        """Describe it."""
        return Response(shapes.event(self.record, self.api))

    def put(self, request: Request, **_: str) -> HttpResponse:
        """Add a version; only its submitter may."""
        if request.user.name != self.record.submitter:
            raise Text(403, "You do not have permission to replace this event.")
        upload = checked(ReplacementForm, request)["eventFile"]
        file = store(upload)
        self.record.add_file(upload.name, file)
        self.record.warnings.clear()
        self.record.reading = _read(file.path, self.record.warnings)
        return HttpResponse(status=202)


class Deprecated(GraceDBView):
    """What GraceDB no longer does."""

    def gone(self, request: Request, **_: str) -> Response:
        """Say so."""
        raise Gone

    get = post = put = patch = gone


def checked(form_class: type[forms.Form], request: Request) -> JSON:
    """Check a form; mistakes become the answer."""
    form = form_class(request.data, request.FILES)
    if not form.is_valid():
        errors = [f"{name}: {' '.join(texts)}" for name, texts in form.errors.items()]
        raise Refused({"errors": errors})
    return dict(form.cleaned_data)


def _check_pipeline(request: Request) -> None:
    pipeline = request.data.get("pipeline")
    if pipeline is None:
        # GraceDB fails here, as far as is known.
        raise Text(500, "Server Error (500)")
    if pipeline in DISABLED_PIPELINES:
        raise Text(400, "This pipeline is disabled.")
    if not request.user.may(UPLOAD):
        raise Text(403, "You do not have permission to submit events to this pipeline.")


def _read(path: Any, warnings: list[str]) -> Reading:
    try:
        return read(path)
    except ValueError as error:
        warnings.append(str(error))
        return Reading()


def _check_replay_id(fields: JSON) -> None:
    """Drop an identifier that is malformed, with a warning."""
    replay_id = fields["replay_id"]
    fields["replay_id"] = replay_id if _REPLAY_ID.fullmatch(replay_id) else None
    if replay_id and not fields["replay_id"]:
        fields["warnings"].append("malformed replay_id: left out")
