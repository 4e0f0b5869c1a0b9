"""The root of the API, which is public, and the page on the user."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from ..vocabulary import (
    API_VERSIONS, CATEGORIES, DISABLED_PIPELINES, EM_GROUPS, GROUPS, INSTRUMENTS, LABELS,
    PIPELINES, SEARCHES, SERVER_VERSION, SIGNOFF_STATUSES, SIGNOFF_TYPES, VOEVENT_TYPES,
)
from .base import JSON, GraceDBView

_EVENT = {
    "event-detail": "",
    "files": "/files/{filename}",
    "event-label": "/labels/{label}",
    "event-log": "/log/",
    "event-log-detail": "/log/{N}",
    "taglist": "/log/{N}/tag/",
    "tag": "/log/{N}/tag/{tag_name}",
    "voevent-list": "/voevent/",
    "voevent-detail": "/voevent/{N}",
    "emobservation-list": "/emobservation/",
    "emobservation-detail": "/emobservation/{N}",
    "update-grbevent": "/update-grbevent/",
}
_SUPEREVENT = {
    "superevent-detail": "",
    "superevent-event-list": "events/",
    "superevent-event-detail": "events/{graceid}/",
    "superevent-pipeline-preferred-event-list": "pipeline_preferred_events/",
    "superevent-pipeline-preferred-event-detail": "pipeline_preferred_events/{graceid}/",
    "superevent-confirm-as-gw": "confirm-as-gw/",
    "superevent-file-list": "files/",
    "superevent-file-detail": "files/{file_name}",
    "superevent-label-list": "labels/",
    "superevent-label-detail": "labels/{label_name}/",
    "superevent-log-list": "logs/",
    "superevent-log-detail": "logs/{N}/",
    "superevent-log-tag-list": "logs/{N}/tags/",
    "superevent-log-tag-detail": "logs/{N}/tags/{tag_name}/",
    "superevent-voevent-list": "voevents/",
    "superevent-voevent-detail": "voevents/{N}/",
    "superevent-emobservation-list": "emobservations/",
    "superevent-emobservation-detail": "emobservations/{N}/",
    "superevent-permission-list": "permissions/",
    "superevent-permission-modify": "permissions/modify/",
    "superevent-signoff-list": "signoffs/",
    "superevent-signoff-detail": "signoffs/{typeinst}/",
}


class Root(GraceDBView):
    """What there is."""

    permission_classes: list[type] = []

    def get(self, request: Request) -> Response:
        """Answer with everything that a client may want to know first."""
        links = {name: f"{self.api}{name}/" for name in ("events", "superevents", "user-info")}
        return Response({
            "links": {"self": self.api, **links},
            "templates": _templates(self.api),
            "server-version": SERVER_VERSION,
            "API_VERSIONS": API_VERSIONS,
            "api-versions": API_VERSIONS,
            "api-default": "v1",
            "groups": GROUPS,
            "pipelines": [*PIPELINES, *DISABLED_PIPELINES],
            "searches": SEARCHES,
            "labels": LABELS,
            "em-groups": EM_GROUPS,
            "superevent-categories": CATEGORIES,
            "voevent-types": VOEVENT_TYPES,
            "signoff-types": SIGNOFF_TYPES,
            "signoff-statuses": SIGNOFF_STATUSES,
            "instruments": INSTRUMENTS,
        })


def _templates(api: str) -> JSON:
    log = "/logs/" if api.endswith("/v2/") else "/log/"
    event, superevent = f"{api}events/{{graceid}}", f"{api}superevents/{{superevent_id}}/"
    return {
        f"{name}-template": url
        for name, url in [
            *((name, event + end.replace("/log/", log)) for name, end in _EVENT.items()),
            *((name, superevent + end) for name, end in _SUPEREVENT.items()),
        ]
    }


class UserInfo(GraceDBView):
    """Who the server takes you for."""

    permission_classes: list[type] = []

    def get(self, request: Request) -> Response:
        """Answer with the name of the user, if there is one."""
        user = request.user
        return Response({
            "username": user.name if user else None,
            "is_authenticated": user is not None,
            "is_internal_user": bool(user and user.is_member),
            "permissions": list(user.permissions) if user else [],
        })
