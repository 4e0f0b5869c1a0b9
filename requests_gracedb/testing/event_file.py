"""What GraceDB reads from an event file: tables of LIGO-LW XML, VOEvents, and the text of cWB."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # nosec B405

# A larger file is stored, but not read.
_LIMIT = 16 * 1024 * 1024

Row = dict[str, object]


@dataclass
class Reading:
    """The properties of a candidate."""

    gpstime: float | None = None
    far: float | None = None
    instruments: str = ""
    nevents: int | None = None
    likelihood: float | None = None
    extra_attributes: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> Reading:
    """Read an event file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    Reading
        Empty for another kind of file, or one of more than 16 MiB.

    Raises
    ------
    ValueError
        The file looks like one that can be read, but cannot.
    """
    if path.stat().st_size > _LIMIT:
        return Reading()
    content = path.read_bytes()
    if content.lstrip().startswith(b"<"):
        return _read_xml(content)
    if content.startswith(b"nevent:"):
        return _read_cwb(content.decode("utf-8", "replace"))
    return Reading()


def _read_xml(content: bytes) -> Reading:
    try:
        # It comes from whoever runs the tests.
        root = ElementTree.fromstring(content)  # nosec B314
    except ElementTree.ParseError as error:
        raise ValueError(f"the event file is not well-formed: {error}") from None
    if root.tag.endswith("VOEvent"):
        return _read_voevent(root)
    return _read_ligo_lw(root)


def _read_ligo_lw(root: ElementTree.Element) -> Reading:
    coincs = list(_rows(root, "coinc_inspiral"))
    if not coincs:
        return Reading()
    coinc = coincs[0]
    event: Row = next(_rows(root, "coinc_event"), {})
    nevents, likelihood = event.get("nevents"), event.get("likelihood")
    return Reading(
        gpstime=round(float(f"{coinc['end_time']}") + float(f"{coinc['end_time_ns']}") * 1e-9, 6),
        far=_number(coinc.get("combined_far")),
        instruments=f"{coinc.get('ifos') or ''}",
        nevents=int(f"{nevents}") if nevents else None,
        likelihood=_number(likelihood),
        extra_attributes={
            "CoincInspiral": coinc,
            "SingleInspiral": list(_rows(root, "sngl_inspiral")),
        },
    )


def _rows(root: ElementTree.Element, name: str) -> Iterator[Row]:
    """Yield the rows of a table."""
    for table in root.iter("Table"):
        if table.get("Name", "").partition(":")[0] == name:
            columns = [
                (column.get("Name", "").rpartition(":")[2], column.get("Type", ""))
                for column in table.iter("Column")
            ]
            text = "".join(line.strip() for line in (table.findtext("Stream") or "").splitlines())
            cells = next(csv.reader([text]), [])
            for start in range(0, len(cells) - len(columns) + 1, len(columns)):
                row = cells[start:start + len(columns)]
                yield {
                    column: _cell(cell, kind) for cell, (column, kind) in zip(row, columns)
                }


def _cell(cell: str, kind: str) -> object:
    if kind.startswith("int"):
        return int(cell) if cell.lstrip("-").isdigit() else None
    if kind.startswith("real"):
        return _number(cell)
    return cell


def _number(value: object) -> float | None:
    try:
        return float(f"{value}")
    except ValueError:
        return None


def _read_voevent(root: ElementTree.Element) -> Reading:
    def value(name: str) -> float | None:
        return _number(root.findtext(f".//{name}"))

    return Reading(extra_attributes={
        "GRB": {
            "ivorn": root.get("ivorn"), "ra": value("C1"), "dec": value("C2"),
            "error_radius": value("Error2Radius"),
        }
    })


def _read_cwb(text: str) -> Reading:
    pairs = (line.partition(":")[::2] for line in text.splitlines() if ":" in line)
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name.strip(), value.split())

    def first(name: str) -> float | None:
        return _number(values.get(name, [""])[0])

    rates = text.rpartition("#significance based on the last day")[2].splitlines()[1:2]
    return Reading(
        gpstime=first("time"),
        far=_number(rates[0].split()[1]) if rates else None,
        instruments=",".join(values.get("ifo", [])),
        extra_attributes={
            "MultiBurst": {
                "amplitude": first("rho"), "central_freq": first("frequency"),
                "duration": first("duration"), "bandwidth": first("bandwidth"),
                "snr": first("snr"), "ifos": ",".join(values.get("ifo", [])),
            }
        },
    )
