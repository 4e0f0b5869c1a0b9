"""What events, superevents and their parts look like in JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from ..state import Event, Label, LogEntry, Record, Signoff, Superevent, VOEvent

JSON = dict[str, Any]


def event(record: Event, api: str) -> JSON:
    """Describe an event."""
    url = f"{api}events/{record.key}"
    log = "logs" if api.endswith("/v2/") else "log"
    return {
        "graceid": record.key,
        "submitter": record.submitter,
        "created": record.created,
        "group": record.group,
        "pipeline": record.pipeline,
        "search": record.search,
        "offline": record.offline,
        "replay_id": record.replay_id,
        "reporting_latency": None,
        **asdict(record.reading),
        "labels": list(record.labels),
        "superevent": record.superevent,
        "warnings": record.warnings,
        "links": {
            "self": url,
            "files": f"{url}/files/",
            "log": f"{url}/{log}/",
            "labels": f"{url}/labels/",
            "emobservations": f"{url}/emobservation/",
        },
    }


def superevent(record: Superevent, api: str) -> JSON:
    """Describe a superevent."""
    url = f"{api}superevents/{record.key}/"
    parts = ("events", "files", "labels", "logs", "signoffs", "voevents", "emobservations")
    internal = [part for part in record.events if part.group != "External"]
    preferred = {
        pipeline: event(part, api) for pipeline, part in list(record.pipeline_preferred.items())
    }
    fields = ("category", "created", "submitter", "gw_id", "em_type", "t_start", "t_0", "t_end",
              "time_coinc_far", "space_coinc_far")
    return {
        "superevent_id": record.key,
        **{name: getattr(record, name) for name in fields},
        "far": record.preferred_event.reading.far,
        "preferred_event": record.preferred_event.key,
        "preferred_event_data": event(record.preferred_event, api),
        "pipeline_preferred_events": preferred,
        "gw_events": [part.key for part in internal],
        "em_events": [part.key for part in record.events if part not in internal],
        "labels": list(record.labels),
        "links": {"self": url, **{name: f"{url}{name}/" for name in parts}},
    }


def log_entry(entry: LogEntry, url: str, name: str) -> JSON:
    """Describe a log entry of the record at this URL, whose log is called so."""
    versioned = quote(f"{entry.filename},{entry.version}")
    slash = "/" if "/superevents/" in url else ""
    return {
        "N": entry.number,
        "self": f"{url}{name}/{entry.number}{slash}",
        "comment": entry.comment,
        "created": entry.created,
        "issuer": entry.issuer,
        "filename": entry.filename,
        "file_version": entry.version,
        "file": f"{url}files/{versioned}" if entry.filename else None,
        "tag_names": list(entry.tags),
    }


def tag(entry: LogEntry, name: str, url: str) -> JSON:
    """Describe a tag of the log entry at this URL."""
    return {"name": name, "displayName": entry.tags[name], "parent": url}


def label(part: Label, url: str) -> JSON:
    """Describe a label on the record at this URL."""
    slash = "/" if "/superevents/" in url else ""
    return {**asdict(part), "self": f"{url}labels/{part.name}{slash}"}


def signoff(part: Signoff, url: str) -> JSON:
    """Describe a sign-off of the superevent at this URL."""
    return {**asdict(part), "links": {"self": f"{url}signoffs/{part.key}/"}}


def voevent(part: VOEvent, url: str) -> JSON:
    """Describe a VOEvent of the event or superevent at this URL."""
    is_superevent = "/superevents/" in url
    name = f"voevents/{part.number}/" if is_superevent else f"voevent/{part.number}"
    versioned = quote(f"{part.filename},{part.version}")
    return {
        "N": part.number,
        "voevent_type": part.voevent_type,
        "filename": part.filename,
        "file_version": part.version,
        "ivorn": part.ivorn,
        "issuer": part.issuer,
        "created": part.created,
        **part.fields,
        "links": {"self": f"{url}{name}", "file": f"{url}files/{versioned}"},
    }


def files(record: Record, url: str, is_v2: bool) -> JSON:
    """List the files of the record at this URL, with all of their versions."""
    urls = {name: f"{url}files/{quote(name)}" for name in record.file_names()}
    if is_v2:
        listed = [{"filename": name, "url": file_url} for name, file_url in urls.items()]
        return {"files": listed, "links": {"self": f"{url}files/"}}
    return urls
