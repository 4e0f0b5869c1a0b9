"""Superevents: the list of all of them, and each with its events and sign-offs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from ..config import ADVOCATE, OPERATOR, SUPEREVENTS
from ..state import Event, Signoff, Superevent
from ..vocabulary import (
    CATEGORIES, INSTRUMENTS, LABELS, PRODUCTION, SIGNOFF_STATUSES, SIGNOFF_TYPES, TEST,
)
from . import shapes
from .authentication import CONFIG, STATE, AnonymousThrottle, CreationThrottle, IsMemberOrReads
from .base import Lists, RecordView, created, may_see, validated

_PUBLIC = [
    {"group": "public_users", "permission": "view_superevent"},
    {"group": "gw-astronomy:LV-EM:Observers", "permission": "view_superevent"},
    {"group": "gw-astronomy:LV-EM:Observers", "permission": "annotate_superevent"},
]


class EventField(serializers.CharField):
    """An event, by its GraceID."""

    def to_internal_value(self, data: object) -> Event:
        """Find it."""
        event = STATE.find_event(str(super().to_internal_value(data)), CONFIG.knows_content_id)
        if event is None:
            raise serializers.ValidationError(f"Event {data} not found.")
        return event


class CategoryField(serializers.ChoiceField):
    """A category, by its code or its name."""

    def to_internal_value(self, data: object) -> str:
        """Get the name."""
        return CATEGORIES.get(str(data)) or str(super().to_internal_value(data))


class ChangeSerializer(serializers.Serializer):
    """What can be changed."""

    preferred_event = EventField(required=False)
    t_start = serializers.FloatField(required=False)
    t_0 = serializers.FloatField(required=False)
    t_end = serializers.FloatField(required=False)
    em_type = serializers.CharField(required=False)
    time_coinc_far = serializers.FloatField(required=False)
    space_coinc_far = serializers.FloatField(required=False)


class SupereventSerializer(serializers.Serializer):
    """A superevent to create."""

    preferred_event = EventField()
    category = CategoryField(list(CATEGORIES.values()), default=PRODUCTION)
    t_start = serializers.FloatField()
    t_0 = serializers.FloatField()
    t_end = serializers.FloatField()
    events = serializers.ListField(child=EventField(), required=False)
    labels = serializers.ListField(child=serializers.ChoiceField(LABELS), required=False)


class MemberSerializer(serializers.Serializer):
    """An event to add."""

    event = EventField()


class ActionSerializer(serializers.Serializer):
    """What to do about who may see it."""

    action = serializers.ChoiceField(["expose", "hide"])


class SignoffSerializer(serializers.Serializer):
    """A sign-off."""

    signoff_type = serializers.ChoiceField(list(SIGNOFF_TYPES))
    instrument = serializers.ChoiceField(["", *INSTRUMENTS], default="", allow_blank=True)
    status = serializers.ChoiceField(list(SIGNOFF_STATUSES))
    comment = serializers.CharField(allow_blank=True, default="")


class Superevents(Lists):
    """All superevents."""

    permission_classes = [IsMemberOrReads]
    throttle_classes = [AnonymousThrottle, CreationThrottle]

    def get(self, request: Request) -> Response:
        """Answer with some of those that the user may see."""
        superevents = list(STATE.superevents.values())
        seen = [superevent for superevent in superevents if may_see(superevent, request)]
        found, answer = self.page(seen)
        described = [shapes.superevent(superevent, self.api) for superevent in found]
        return Response({**answer, "superevents": described})

    def post(self, request: Request) -> Response:
        """Create one."""
        fields = _rounded(validated(SupereventSerializer, request.data))
        labels, others = fields.pop("labels", []), fields.pop("events", [])
        if fields["category"] != TEST and not request.user.may(SUPEREVENTS):
            raise PermissionDenied
        fields["events"] = list({
            event.key: event for event in [fields["preferred_event"], *others]
        }.values())
        _check_members(fields["events"], fields["category"])
        superevent = STATE.add_superevent(request.user.name, **fields)
        for name in labels:
            superevent.add_label(name, request.user.name)
        answer = shapes.superevent(superevent, self.api)
        return created(answer, answer["links"]["self"])


class SupereventView(RecordView):
    """A view of one superevent."""

    collection = "superevents"
    record: Superevent

    def describe(self) -> Response:
        """Answer with the superevent as it is."""
        return Response(shapes.superevent(self.record, self.api))

    def require(self, permission: str) -> None:
        """Refuse those who do not have a permission."""
        if not self.request.user.may(permission):
            raise PermissionDenied


class SupereventDetail(SupereventView):
    """A superevent."""

    def get(self, request: Request, **_: str) -> Response:
        """Describe it."""
        return self.describe()

    def patch(self, request: Request, **_: str) -> Response:
        """Change it."""
        changes = _rounded(validated(ChangeSerializer, request.data))
        preferred = changes.get("preferred_event")
        if preferred is not None and preferred not in self.record.events:
            _check_members([preferred], self.record.category)
        self.record.update(**changes)
        return self.describe()


class Confirm(SupereventView):
    """Its name as a gravitational wave."""

    def post(self, request: Request, **_: str) -> Response:
        """Give it one."""
        if self.record.category != TEST:
            self.require(SUPEREVENTS)
        if self.record.gw_id:
            raise ValidationError(f"{self.record.key} is already confirmed as a GW.")
        STATE.confirm(self.record)
        return self.describe()


class Members(SupereventView):
    """Its events."""

    def get(self, request: Request, **_: str) -> Response:
        """List them."""
        events = [shapes.event(event, self.api) for event in list(self.record.events)]
        return Response({"events": events, "links": {"self": f"{self.url}events/"}})

    def post(self, request: Request, **_: str) -> Response:
        """Add one."""
        event = validated(MemberSerializer, request.data)["event"]
        _check_members([event], self.record.category)
        self.record.add(event)
        return created(shapes.event(event, self.api), f"{self.url}events/{event.key}/")


class MemberDetail(SupereventView):
    """One of its events."""

    def get(self, request: Request, graceid: str, **_: str) -> Response:
        """Describe it."""
        return Response(shapes.event(_find(self.record.events, graceid), self.api))

    def delete(self, request: Request, graceid: str, **_: str) -> Response:
        """Take it out, unless it is the preferred one."""
        event = _find(self.record.events, graceid)
        if event is self.record.preferred_event:
            raise ValidationError(f"Event {event.key} is the preferred event.")
        self.record.remove(event)
        return Response(status=204)


class PipelinePreferred(SupereventView):
    """The preferred event of each pipeline."""

    def get(self, request: Request, **_: str) -> Response:
        """List them."""
        preferred = list(self.record.pipeline_preferred.values())
        events = [shapes.event(event, self.api) for event in preferred]
        return Response({"pipeline_preferred_events": events})

    def post(self, request: Request, **_: str) -> Response:
        """Make an event the preferred one of its pipeline."""
        event: Event = validated(MemberSerializer, request.data)["event"]
        if event not in self.record.events:
            raise ValidationError(f"Event {event.key} is not part of {self.record.key}.")
        if self.record.pipeline_preferred.get(event.pipeline) is event:
            # gracedb-sdk looks for this text.
            raise ValidationError(
                f"Event {event.key} is already the {event.pipeline} pipeline-preferred event for "
                f"{self.record.key}"
            )
        self.record.pipeline_preferred[event.pipeline] = event
        url = f"{self.url}pipeline_preferred_events/{event.key}/"
        return created(shapes.event(event, self.api), url)


class PipelinePreferredDetail(SupereventView):
    """The preferred event of one pipeline."""

    def delete(self, request: Request, graceid: str, **_: str) -> Response:
        """Prefer none."""
        event = _find(self.record.pipeline_preferred.values(), graceid)
        del self.record.pipeline_preferred[event.pipeline]
        return Response(status=204)


class Permissions(SupereventView):
    """Who may see it."""

    def get(self, request: Request, **_: str) -> Response:
        """List what others than members may do."""
        return Response({"permissions": _PUBLIC if self.record.is_exposed else []})


class PermissionsModify(SupereventView):
    """Show it to everybody, or hide it."""

    def post(self, request: Request, **_: str) -> Response:
        """Do so."""
        self.require(ADVOCATE)
        action = validated(ActionSerializer, request.data)["action"]
        self.record.is_exposed = action == "expose"
        return Response(_PUBLIC if self.record.is_exposed else [])


class Signoffs(SupereventView):
    """The verdicts on it."""

    def get(self, request: Request, **_: str) -> Response:
        """List them."""
        signoffs = list(self.record.signoffs.values())
        return Response({"signoffs": [shapes.signoff(signoff, self.url) for signoff in signoffs]})

    def post(self, request: Request, **_: str) -> Response:
        """Add one, which answers a label that has asked for it."""
        fields = validated(SignoffSerializer, request.data)
        signoff = Signoff(submitter=request.user.name, **fields)
        self.require(_permission(signoff))
        if signoff.key in self.record.signoffs:
            raise ValidationError(f"There is a sign-off {signoff.key} already.")
        if signoff.request_label not in self.record.labels:
            raise ValidationError(f"{self.record.key} has no label {signoff.request_label}.")
        self.record.signoffs[signoff.key] = signoff
        del self.record.labels[signoff.request_label]
        self.record.add_label(signoff.label, request.user.name)
        return created(shapes.signoff(signoff, self.url), f"{self.url}signoffs/{signoff.key}/")


class SignoffDetail(SupereventView):
    """One of the verdicts."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find it."""
        super().initial(request, *args, **kwargs)
        if kwargs["name"] not in self.record.signoffs:
            raise NotFound
        self.signoff = self.record.signoffs[kwargs["name"]]

    def get(self, request: Request, **_: str) -> Response:
        """Describe it."""
        return Response(shapes.signoff(self.signoff, self.url))

    def patch(self, request: Request, **_: str) -> Response:
        """Change it, and its label."""
        self.require(_permission(self.signoff))
        changes = validated(SignoffSerializer, request.data, partial=True)
        self.record.labels.pop(self.signoff.label, None)
        for name in {"status", "comment"}.intersection(request.data):
            setattr(self.signoff, name, changes[name])
        self.record.add_label(self.signoff.label, request.user.name)
        return Response(shapes.signoff(self.signoff, self.url))

    def delete(self, request: Request, **_: str) -> Response:
        """Take it back, and ask for it anew."""
        self.require(_permission(self.signoff))
        del self.record.signoffs[self.signoff.key]
        self.record.labels.pop(self.signoff.label, None)
        self.record.add_label(self.signoff.request_label, request.user.name)
        return Response(status=204)


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    """Keep times as the database does: microseconds."""
    times = {"t_start", "t_0", "t_end"}.intersection(fields)
    return {**fields, **{name: round(fields[name], 6) for name in times}}


def _check_members(events: Iterable[Event], category: str) -> None:
    for event in events:
        if event.superevent is not None:
            raise ValidationError(f"Event {event.key} is already part of {event.superevent}.")
        if event.category != category:
            raise ValidationError(f"Event {event.key} is not of category {category}.")


def _find(events: Iterable[Event], graceid: str) -> Event:
    for event in list(events):
        if event.key == graceid:
            return event
    raise NotFound


def _permission(signoff: Signoff) -> str:
    return ADVOCATE if signoff.signoff_type == "ADV" else OPERATOR
