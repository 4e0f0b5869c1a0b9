"""What is read from an event file."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.quickstart import coinc_xml
from requests_gracedb.testing import event_file
from requests_gracedb.testing.event_file import Reading, read

TABLE = b"""<LIGO_LW><Table Name="coinc_inspiral:table">
<Column Name="end_time" Type="int_4s"/><Column Name="end_time_ns" Type="int_4s"/>
<Column Name="snr" Type="real_8"/><Column Name="ifos" Type="lstring"/>
<Stream>1,500000000,%s,"H1,L1"
</Stream></Table></LIGO_LW>"""
VOEVENT = b"""<voe:VOEvent xmlns:voe="x" ivorn="ivo://a"><Position2D><Value2><C1>1.5</C1><C2>-2</C2>
</Value2><Error2Radius>8.8</Error2Radius></Position2D></voe:VOEvent>"""
CWB = b"""nevent:     1
ifo:        L1 H1
rho:        5.5
time:       1042312876.5 1042312876.6
#significance based on the last day jobs
3329 0.0002 1 2 3
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "event"


def test_a_coincidence_of_inspirals_is_read(path: Path) -> None:
    path.write_bytes(coinc_xml(seed=1, samples=16))
    reading = read(path)
    assert (reading.gpstime, reading.far) == (1187008882.443115, 2.7e-14)
    assert (reading.instruments, reading.nevents, reading.likelihood) == ("H1,L1,V1", 3, 41.7)
    assert [row["snr"] for row in reading.extra_attributes["SingleInspiral"]] == [14.2, 17.9, 5.1]


def test_a_cell_that_is_empty_is_none(path: Path) -> None:
    path.write_bytes(TABLE % b"")
    reading = read(path)
    assert reading.extra_attributes["CoincInspiral"]["snr"] is None
    assert (reading.gpstime, reading.instruments) == (1.5, "H1,L1")


def test_a_voevent_is_read(path: Path) -> None:
    path.write_bytes(VOEVENT)
    assert read(path).extra_attributes["GRB"] == {
        "ivorn": "ivo://a", "ra": 1.5, "dec": -2.0, "error_radius": 8.8
    }


def test_a_trigger_of_cwb_is_read(path: Path) -> None:
    path.write_bytes(CWB)
    reading = read(path)
    assert (reading.gpstime, reading.far, reading.instruments) == (1042312876.5, 0.0002, "L1,H1")
    assert reading.extra_attributes["MultiBurst"]["amplitude"] == 5.5


@pytest.mark.parametrize("content", [b"", b"something else", b"<LIGO_LW/>"])
def test_of_other_files_nothing_is_read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert read(path) == Reading()


def test_of_a_large_file_nothing_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file, "_LIMIT", 9)
    path.write_bytes(b"<LIGO_LW/>")
    assert read(path) == Reading()


def test_xml_that_is_not_well_formed_is_an_error(path: Path) -> None:
    path.write_bytes(b"<LIGO_LW>")
    with pytest.raises(ValueError, match="the event file is not well-formed"):
        read(path)
