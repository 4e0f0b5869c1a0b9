"""VOEvents: the notices to astronomers before there were others. GraceDB creates them no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape, quoteattr  # nosec B406

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from ..state import StoredFile, VOEvent
from ..vocabulary import VOEVENT_TYPES
from . import shapes
from .authentication import CONFIG
from .base import FILES, Gone, RecordView, created, validated


class VOEventSerializer(serializers.Serializer):
    """A VOEvent to create."""

    voevent_type = serializers.ChoiceField(list(VOEVENT_TYPES))
    skymap_type = serializers.CharField(required=False)
    skymap_filename = serializers.CharField(required=False)
    internal = serializers.BooleanField(default=True)
    open_alert = serializers.BooleanField(default=False)
    hardware_inj = serializers.BooleanField(default=False)
    raven_coinc = serializers.BooleanField(default=False)
    CoincComment = serializers.BooleanField(default=False)
    ProbHasNS = serializers.FloatField(required=False)
    ProbHasRemnant = serializers.FloatField(required=False)
    BNS = serializers.FloatField(required=False)
    NSBH = serializers.FloatField(required=False)
    BBH = serializers.FloatField(required=False)
    Terrestrial = serializers.FloatField(required=False)
    HasMassGap = serializers.FloatField(required=False)


# What the fields are called in the description of a VOEvent.
_FIELDS = {
    "skymap_type": "skymap_type", "skymap_filename": "skymap_filename", "internal": "internal",
    "open_alert": "open_alert", "hardware_inj": "hardware_inj", "raven_coinc": "raven_coinc",
    "CoincComment": "coinc_comment", "ProbHasNS": "prob_has_ns",
    "ProbHasRemnant": "prob_has_remnant", "BNS": "prob_bns", "NSBH": "prob_nsbh",
    "BBH": "prob_bbh", "Terrestrial": "prob_terrestrial", "HasMassGap": "prob_has_mass_gap",
}


class VOEventView(RecordView):
    """A view of what an older version of GraceDB has more of."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Tell that it is gone: with events, all of it; with superevents, the way to make one."""
        super().initial(request, *args, **kwargs)
        is_read = self.collection == "superevents" and request.method == "GET"
        if not (CONFIG.takes_voevents or is_read):
            raise Gone


class VOEvents(VOEventView):
    """The VOEvents of an event or a superevent."""

    def get(self, request: Request, **_: str) -> Response:
        """List them."""
        voevents = [shapes.voevent(voevent, self.url) for voevent in self.record.voevents]
        return Response({"voevents": voevents, "numRows": len(voevents)})

    def post(self, request: Request, **_: str) -> Response:
        """Create one."""
        fields = validated(VOEventSerializer, request.data)
        kind, number = fields.pop("voevent_type"), len(self.record.voevents) + 1
        label = "EarlyWarning" if kind == "EW" else VOEVENT_TYPES[kind].capitalize()
        name = f"{self.record.key}-{number}-{label}"
        path = FILES / f"{name}.xml"
        path.write_text(_xml(name, kind, self.record.voevents))
        version = self.record.add_file(path.name, StoredFile(path, "application/xml"))
        voevent = VOEvent(number, kind, path.name, version, _ivorn(name), request.user.name, {
            new: fields.get(old) for old, new in _FIELDS.items()
        })
        self.record.voevents.append(voevent)
        answer = shapes.voevent(voevent, self.url)
        return created(answer, answer["links"]["self"])


class VOEventDetail(VOEventView):
    """A VOEvent."""

    def get(self, request: Request, number: str, **_: str) -> Response:
        """Describe it."""
        for voevent in self.record.voevents:
            if voevent.number == int(number):
                return Response(shapes.voevent(voevent, self.url))
        raise NotFound


def _ivorn(name: str) -> str:
    return f"ivo://gwnet/LVC#{name}"


def _xml(name: str, kind: str, earlier: Iterable[VOEvent]) -> str:
    """Write what a VOEvent says of those before it, and nothing else."""
    cite = "retraction" if kind == "RE" else "supersedes"
    citations = "".join(
        f"<EventIVORN cite={quoteattr(cite)}>{escape(voevent.ivorn)}</EventIVORN>"
        for voevent in earlier
    )
    return f"<VOEvent ivorn={quoteattr(_ivorn(name))}><Citations>{citations}</Citations></VOEvent>"
