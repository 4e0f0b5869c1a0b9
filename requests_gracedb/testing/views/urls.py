"""Which view is where.

Events and their parts have no slash at the end; lists have one, and everything below superevents.
Where it is missing, Django redirects, as it does by default.
"""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, URLResolver, include, path, re_path
from rest_framework.views import APIView

from . import events, records, superevents, tools, voevents
from .root import Root, UserInfo

_KEY = "(?P<key>[^/]+)"
_NUMBER = r"(?P<number>\d+)"
_NAME = "(?P<name>[^/]+)"
_GRACEID = "(?P<graceid>[^/]+)"


def _route(pattern: str, view: type[APIView], **attributes: Any) -> URLPattern:
    return re_path(f"^{pattern}$", view.as_view(**attributes))


def _event_routes(log: str) -> list[URLPattern]:
    record, entry = f"events/{_KEY}", f"events/{_KEY}/{log}/{_NUMBER}"
    return [
        _route("events/", events.Events),
        _route(record, events.EventDetail),
        _route(f"{record}/files/", records.Files),
        _route(f"{record}/files/{_NAME}", records.FileContent),
        _route(f"{record}/{log}/", records.Log, log_name=log),
        _route(entry, records.LogDetail, log_name=log),
        _route(f"{entry}/tag/", records.Tags, log_name=log),
        _route(f"{entry}/tag/{_NAME}", records.TagDetail, log_name=log),
        _route(f"{record}/labels/", records.Labels),
        _route(f"{record}/labels/{_NAME}", records.EventLabelDetail),
        _route(f"{record}/voevent/", voevents.VOEvents),
        _route(f"{record}/voevent/{_NUMBER}", voevents.VOEventDetail),
        _route(f"{record}/(?:emobservation|update-grbevent)/", events.Deprecated),
        _route(rf"{record}/emobservation/{_NUMBER}", events.Deprecated),
    ]


def _superevent_routes() -> list[URLPattern]:
    record = f"superevents/{_KEY}/"
    preferred = f"{record}pipeline_preferred_events/"
    return [
        _route("superevents/", superevents.Superevents),
        _route(record, superevents.SupereventDetail),
        _route(f"{record}confirm-as-gw/", superevents.Confirm),
        _route(f"{record}events/", superevents.Members),
        _route(f"{record}events/{_GRACEID}/", superevents.MemberDetail),
        _route(preferred, superevents.PipelinePreferred),
        _route(f"{preferred}{_GRACEID}/", superevents.PipelinePreferredDetail),
        _route(f"{record}permissions/", superevents.Permissions),
        _route(f"{record}permissions/modify/", superevents.PermissionsModify),
        _route(f"{record}signoffs/", superevents.Signoffs),
        _route(f"{record}signoffs/{_NAME}/", superevents.SignoffDetail),
        _route(f"{record}emobservations/(?:{_NUMBER}/)?", events.Deprecated),
        *_superevent_record_routes(record),
    ]


def _superevent_record_routes(record: str) -> list[URLPattern]:
    entry = f"{record}logs/{_NUMBER}/"
    part = {"collection": "superevents"}
    logs = {**part, "log_name": "logs"}
    return [
        _route(f"{record}files/", records.Files, **part),
        _route(f"{record}files/{_NAME}", records.FileContent, **part),
        _route(f"{record}logs/", records.Log, **logs),
        _route(entry, records.LogDetail, **logs),
        _route(f"{entry}tags/", records.Tags, **logs),
        _route(f"{entry}tags/{_NAME}/", records.TagDetail, **logs),
        _route(f"{record}labels/", records.SupereventLabels, **part),
        _route(f"{record}labels/{_NAME}/", records.LabelDetail, **part),
        _route(f"{record}voevents/", voevents.VOEvents, **part),
        _route(f"{record}voevents/{_NUMBER}/", voevents.VOEventDetail, **part),
    ]


def _api(log: str) -> list[URLPattern]:
    general = [_route("", Root), _route("user-info/", UserInfo)]
    return [*general, *_event_routes(log), *_superevent_routes()]


urlpatterns: list[URLPattern | URLResolver] = [
    path("api/", include(_api("log"))),
    path("api/v1/", include(_api("log"))),
    path("api/v2/", include(_api("logs"))),
    path("login/", tools.login),
    path("issuer/.well-known/openid-configuration", tools.issuer),
    path("issuer/jwks", tools.keys),
    re_path("^api/echo/?$", tools.Echo.as_view()),
    re_path("^api/redirect/(?P<code>30[12378])/?$", tools.Redirect.as_view()),
    re_path(r"^api/status/(?P<code>[2-5]\d\d)/?$", tools.Status.as_view()),
]
