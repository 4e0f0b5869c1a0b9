"""A tour of requests-gracedb: upload an event, read it back, and see what else there is.

``python -m examples`` does all this with a stand-in for GraceDB on this machine.
``python -m examples --url https://gracedb.ligo.org/api/`` reads from GraceDB itself.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from cmath import exp
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import hypot, inf
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import requests
from PIL import Image, ImageDraw

from requests_gracedb import FormData, GraceDBAdapter, GraceDBAuth
from requests_gracedb.testing import GraceDBServer


def main() -> str | None:
    """Take the tour, or, with ``--url``, the part of it that only reads.

    Returns
    -------
    str or None
        What went wrong, for `sys.exit`.
    """
    parser = ArgumentParser("python -m examples", description="Try requests-gracedb.")
    parser.add_argument("--url", help="API of a GraceDB to read from, instead of the stand-in")
    url = parser.parse_args().url
    if url is None:
        with GraceDBServer() as server, _settings(server):
            take_tour(server)
        return None
    try:
        look_around(url.rstrip("/") + "/")
    except (OSError, ValueError) as error:  # Every exception of requests is an OSError.
        return f"{type(error).__name__}: {error}"
    return None


def take_tour(server: GraceDBServer) -> None:
    """Do what a search pipeline does, and print it."""
    token_file = server.directory / f"bt_u{os.geteuid()}"
    _write_token(token_file, server.token(lifetime=3600))
    with requests.Session() as session:
        session.mount(server.url, GraceDBAdapter(user_agent="quickstart/1.0"))
        session.auth = GraceDBAuth(server.url)
        _tell("server", f"stand-in for GraceDB, {server.url}")
        _tell("credential", repr(session.auth))

        event_file = server.directory / "coinc.xml"
        event_file.write_bytes(coinc_xml(seed=1))
        event = _upload_event(session, server.url, event_file)
        _upload_plot(session, event)
        _read_back(session, event, event_file)

        event_file.write_bytes(coinc_xml(seed=2, samples=16))
        for _ in range(3):
            _upload_event(session, server.url, event_file)
        _list_records(session, f"{server.url}events/?count=2", "events", "graceid")

        _reload_token(session, server, token_file, event)
        try:
            _upload_event(session, server.url, event_file, group="Tset")
        except requests.HTTPError as error:
            _tell("refusal", f"HTTPError: {error}")


def _reload_token(
    session: requests.Session, server: GraceDBServer, token_file: Path, event: dict[str, Any]
) -> None:
    _write_token(token_file, server.token(lifetime=60))
    session.auth = GraceDBAuth(server.url, auth_reload=True, auth_reload_timeout=300)
    _tell("expiring", repr(session.auth))
    _write_token(token_file, server.token(lifetime=3600))
    session.get(event["links"]["self"])
    _tell("reloaded", repr(session.auth))


def look_around(url: str) -> None:
    """Read what the GraceDB at this URL shows with a credential, or to everyone."""
    with requests.Session() as session:
        # Whoever waits at a terminal wants to hear of a fault at once, even of a black hole.
        adapter = GraceDBAdapter(user_agent="quickstart/1.0", timeout=(2, 3), max_retries=0)
        session.mount(url, adapter)
        session.auth = GraceDBAuth(url)
        version = session.get(url).json().get("server-version", "of unknown version")
        _tell("server", f"GraceDB {version}, {url}")
        _tell("credential", repr(session.auth))
        _list_records(session, f"{url}superevents/?count=5", "superevents", "superevent_id", 2)


def _upload_event(
    session: requests.Session, url: str, path: Path, group: str = "Test"
) -> dict[str, Any]:
    form = FormData({"group": group, "pipeline": "gstlal", "search": "AllSky"}, {"eventFile": path})
    event: dict[str, Any] = session.post(f"{url}events/", data=form).json()
    _tell("upload", f"{event['graceid']} from {path.name}, {path.stat().st_size:,} bytes")
    return event


def _upload_plot(session: requests.Session, event: dict[str, Any]) -> None:
    plot = _snr_plot(seed=1)
    data = {"comment": "Signal-to-noise ratio", "tagname": ["analyst_comments", "public"]}
    form = FormData(data, {"upload": ("snr.png", plot)})
    entry = session.post(event["links"]["log"], data=form).json()
    _tell("log entry", f"number {entry['N']} with {entry['filename']}, {len(plot):,} bytes")


def _read_back(session: requests.Session, event: dict[str, Any], path: Path) -> None:
    event = session.get(event["links"]["self"]).json()
    content = session.get(event["links"]["files"] + path.name).content
    _tell("event", f"{event['graceid']} of {event['pipeline']}, by {event['submitter']}")
    verdict = "identical" if content == path.read_bytes() else "NOT IDENTICAL"
    _tell("file", f"{path.name}, {len(content):,} bytes, {verdict} to what was uploaded")


def _list_records(
    session: requests.Session, url: str | None, collection: str, key: str, pages: float = inf
) -> None:
    number = 0
    while url and number < pages:
        page = session.get(url).json()
        url = page["links"].get("next")
        number += 1
        records = " ".join(record[key] for record in page[collection]) or "nothing"
        _tell(collection if number == 1 else "", f"page {number}: {records}")


def _tell(subject: str, text: str) -> None:
    print(f"{subject:<12}{text}")


@contextmanager
def _settings(server: GraceDBServer) -> Iterator[None]:
    """Let this process find the stand-in and its token. GraceDB itself needs none of this."""
    settings = {
        "REQUESTS_CA_BUNDLE": server.ca_bundle,  # The stand-in has a certificate of its own.
        "XDG_RUNTIME_DIR": str(server.directory),
        "no_proxy": "localhost",
    }
    with patch.dict(os.environ, settings):
        os.environ.pop("BEARER_TOKEN", None)
        os.environ.pop("BEARER_TOKEN_FILE", None)
        yield


def _write_token(path: Path, token: str) -> None:
    """Replace a token in one step: nobody ever reads half of it."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(token)
    new.replace(path)


_SNR = {"H1": 14.2, "L1": 17.9, "V1": 5.1}
_HORIZON = {"H1": 240.0, "L1": 270.0, "V1": 110.0}  # Mpc
_TIME = 1_187_008_882  # GPS
_NANOSECONDS = {"H1": 443_115_234, "L1": 440_185_547, "V1": 427_978_516}
_HEAD = b"""<?xml version='1.0' encoding='utf-8'?>
<!DOCTYPE LIGO_LW SYSTEM "http://ldas-sw.ligo.caltech.edu/doc/ligolwAPI/html/ligolw_dtd.txt">
"""


def coinc_xml(seed: int, samples: int = 1024) -> bytes:
    """Make the LIGO-LW XML that a search pipeline uploads for an inspiral of two neutron stars."""
    root = Element("LIGO_LW")
    _add_tables(root, seed)
    for ifo in _SNR:
        psd = [(f, 5e-47 * (240 / _HORIZON[ifo]) ** 2 * ((20 / f) ** 14 + (60 / f) ** 2 + 1))
               for f in range(10, samples)]
        _add_array(root, ifo, "REAL8FrequencySeries", "psd", "Frequency,Real", psd)
        snr_series = _snr_series(ifo, seed, samples)
        _add_array(root, ifo, "COMPLEX8TimeSeries", "snr", "Time,Real,Imaginary", snr_series)
    indent(root)
    return _HEAD + tostring(root)


def _add_tables(root: Element, seed: int) -> None:
    m1, m2, mchirp, ifos = 1.46, 1.27, 1.1848, ",".join(_SNR)
    sngls = [
        (0, number, ifo, _TIME, _NANOSECONDS[ifo], m1, m2, mchirp, snr, round(1 + snr / 99, 4),
         round(8 * _HORIZON[ifo] / snr, 2))
        for number, (ifo, snr) in enumerate(_SNR.items())
    ]
    coinc = 0, ifos, _TIME, _NANOSECONDS["H1"], m1 + m2, mchirp, hypot(*_SNR.values()), 2.7e-14
    _add_table(root, "process", "process_id:int_8s program:lstring ifos:lstring start_time:int_4s",
               [(0, "gstlal_inspiral", ifos, _TIME - 3600)])
    _add_table(root, "process_params", "process:process_id:int_8s param:lstring value:lstring",
               [(0, "--seed", f"{seed}")])
    _add_table(root, "sngl_inspiral", "process:process_id:int_8s event_id:int_8s ifo:lstring "
               "end_time:int_4s end_time_ns:int_4s mass1:real_4 mass2:real_4 mchirp:real_4 "
               "snr:real_4 chisq:real_4 eff_distance:real_4", sngls)
    _add_table(root, "coinc_event", "process:process_id:int_8s coinc_event_id:int_8s "
               "instruments:lstring nevents:int_4u likelihood:real_8", [(0, 0, ifos, 3, 41.7)])
    _add_table(root, "coinc_inspiral", "coinc_event:coinc_event_id:int_8s ifos:lstring "
               "end_time:int_4s end_time_ns:int_4s mass:real_8 mchirp:real_8 snr:real_8 "
               "combined_far:real_8", [coinc])
    _add_table(root, "coinc_event_map", "coinc_event:coinc_event_id:int_8s table_name:lstring "
               "event_id:int_8s", [(0, "sngl_inspiral", number) for number in range(3)])


def _snr_series(ifo: str, seed: int, samples: int) -> list[tuple[float, float, float]]:
    random = Random(f"{seed} {ifo}")
    times = [(n - samples / 2) / 2048 for n in range(samples)]
    signal = [_SNR[ifo] * exp(-((t / 0.01) ** 2) + 200j * t) for t in times]
    noisy = ((random.gauss(z.real, 0.7), random.gauss(z.imag, 0.7)) for z in signal)
    return [(t, *z) for t, z in zip(times, noisy)]


def _add_table(root: Element, name: str, columns: str, rows: Sequence[tuple[object, ...]]) -> None:
    table = SubElement(root, "Table", Name=f"{name}:table")
    for column in columns.split():
        column_name, _, column_type = column.rpartition(":")
        SubElement(table, "Column", Name=column_name, Type=column_type)
    cells = [[f'"{cell}"' if isinstance(cell, str) else f"{cell}" for cell in row] for row in rows]
    stream = SubElement(table, "Stream", Name=f"{name}:table", Delimiter=",", Type="Local")
    stream.text = ",\n".join(map(",".join, cells))


def _add_array(
    root: Element, ifo: str, kind: str, name: str, columns: str, rows: Sequence[tuple[float, ...]]
) -> None:
    series = SubElement(root, "LIGO_LW", Name=kind)
    SubElement(series, "Time", Name="epoch", Type="GPS").text = f"{_TIME}.{_NANOSECONDS[ifo]}"
    array = SubElement(series, "Array", Name=f"{name}:array", Type="real_8")
    SubElement(array, "Dim", Name=columns.partition(",")[0]).text = f"{len(rows)}"
    SubElement(array, "Dim", Name=columns).text = f"{len(rows[0])}"
    stream = SubElement(array, "Stream", Delimiter=" ", Type="Local")
    stream.text = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in rows)
    SubElement(series, "Param", Name="instrument:param", Type="lstring").text = ifo


def _snr_plot(seed: int, samples: int = 1024) -> bytes:
    image = Image.new("RGB", (samples, 480), "white")
    draw = ImageDraw.Draw(image)
    for number, (ifo, color) in enumerate(zip(_SNR, ("firebrick", "steelblue", "indigo"))):
        series = _snr_series(ifo, seed, samples)
        draw.line([(x, 460 - 22 * hypot(*z)) for x, (_, *z) in enumerate(series)], color, width=2)
        draw.text((samples - 96, 10 + 14 * number), f"{ifo} SNR {_SNR[ifo]}", color)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
