"""What README and docs tell is true: examples run, and pages build without a warning."""

from __future__ import annotations

import gzip
import io
import os
import pathlib
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from bs4 import BeautifulSoup
from docutils.core import publish_doctree
from docutils.nodes import doctest_block, literal_block
from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.rest import DocTestParser, PythonCodeBlockParser

import requests_gracedb
from requests_gracedb.testing import GraceDBServer
from tests.conftest import TOP, write_token

DOCS = TOP / "docs"
README = TOP / "README.rst"
PAGES = [README, *sorted(DOCS.rglob("*.rst"))]
MODULES = sorted((TOP / "requests_gracedb").glob("*.py"))
HOST = "gracedb.ligo.org"
# What a short text does not explain to its readers.
LEFT_OUT = {"README.rst": {"pathlib": pathlib, "png_bytes": b"\x89PNG"}}
TEXTS = [README, TOP / "CHANGES.rst", TOP / "CONTRIBUTING.rst", TOP / "SECURITY.rst"]


class Docstrings(PythonDocStringDocument):
    """Examples that show what to type, and mostly leave out what Python would print."""

    def evaluate(self, example: Any, evaluator: Any) -> None:
        if example.parsed.want:
            super().evaluate(example, evaluator)
        else:
            exec(compile(example.parsed.source, self.path, "exec"), example.namespace)


SYBIL = Sybil(
    parsers=[DocTestParser(ELLIPSIS | NORMALIZE_WHITESPACE), PythonCodeBlockParser()],
    document_types={".py": Docstrings},
)


def examples_of(paths: list[Path]) -> list[Any]:
    """Find the files that have examples."""
    return [
        pytest.param(path, id=str(path.relative_to(TOP)))
        for path in paths
        if any(SYBIL.parse(path).examples())
    ]


@pytest.fixture(scope="module")
def public_gracedb() -> Iterator[GraceDBServer]:
    """A GraceDB that answers to the name of the real one."""
    with GraceDBServer(names=(HOST,), count_cache=0) as server:
        yield server


@pytest.fixture
def reader(
    public_gracedb: GraceDBServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody with a token and some files, for whom the name of GraceDB leads to the stand-in.

    No other name leads anywhere: no example gets out of this machine.
    """
    port = int(public_gracedb.url.split(":")[2].split("/")[0])

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        if host != HOST:
            raise socket.gaierror(socket.EAI_NONAME, f"the examples know {HOST} only")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", public_gracedb.ca_bundle)
    origins = [f"https://{HOST}", public_gracedb.url.removesuffix("/api/")]
    token = public_gracedb.token(audience=origins)
    write_token(home / f"bt_u{os.geteuid()}", token)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from standard input")))
    for name in ("token", "bt_u1000"):
        write_token(work / name, token)
    for name in ("bayestar.fits.gz", "psd.xml.gz"):
        (work / name).write_bytes(gzip.compress(name.encode()))
    for name in ("coinc.xml", "plot.png"):
        (work / name).write_text(name)


@pytest.fixture
def session(reader: None) -> Iterator[requests.Session]:
    """What the examples of docstrings start with, without saying so."""
    with requests_gracedb.Session(f"https://{HOST}/api/") as session:
        yield session


@pytest.fixture
def run_examples(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What runs the examples of a file, one after the other."""
    def run(path: Path, **names: object) -> None:
        # In a module of their own, so that what they define can be pickled.
        module = ModuleType("examples_of_docs")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        document = SYBIL.parse(path)
        document.namespace = vars(module)
        document.namespace.update(names)
        for example in document.examples():
            example.evaluate()

    return run


@pytest.mark.parametrize("path", examples_of(PAGES))
def test_the_examples_of_a_page_run(
    path: Path, reader: None, run_examples: Callable[..., None]
) -> None:
    run_examples(path, **LEFT_OUT.get(path.name, {}))


@pytest.mark.parametrize("path", examples_of(MODULES))
def test_the_examples_of_docstrings_run(
    path: Path, session: requests.Session, run_examples: Callable[..., None]
) -> None:
    public = {name: getattr(requests_gracedb, name) for name in requests_gracedb.__all__}
    run_examples(path, requests=requests, session=session, **public)


@pytest.mark.parametrize("name", requests_gracedb.__all__)
def test_every_public_name_is_in_the_api(name: str) -> None:
    directives = [line.split(":: ")[-1] for line in (DOCS / "api.rst").read_text().splitlines()]
    assert f"requests_gracedb.{name}" in directives


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_a_text_is_valid_without_sphinx(path: Path) -> None:
    settings = {"halt_level": 2, "report_level": 2, "raw_enabled": False, "_disable_config": True}
    publish_doctree(path.read_text(), settings_overrides=settings)


def test_no_line_of_code_in_the_readme_runs_off_the_page() -> None:
    # Those of the package index have room for 94 characters: 770 pixels of 13.6-pixel monospace.
    document = publish_doctree(README.read_text())
    blocks = [node.astext() for node in document.findall(literal_block)]
    blocks += [node.astext() for node in document.findall(doctest_block)]
    assert [line for block in blocks for line in block.splitlines() if len(line) > 94] == []


@pytest.mark.parametrize("path", [*TEXTS, *DOCS.rglob("*.rst")], ids=lambda path: path.name)
def test_a_link_to_our_own_pages_leads_somewhere(path: Path) -> None:
    text = path.read_text()
    pages = re.findall(r"requests-gracedb\.readthedocs\.io/en/latest/([\w/]+)\.html", text)
    files = re.findall(r"requests-gracedb/-/blob/main/([\w./]+)", text)
    targets = [*(DOCS / f"{page}.rst" for page in pages), *(TOP / file for file in files)]
    assert [target for target in targets if not target.exists()] == []


def test_the_pages_build_without_a_warning_and_their_links_lead_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", str(DOCS), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "FormData" in (tmp_path / "genindex.html").read_text()
    paths = [tmp_path / path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.rst")]
    pages = {path: BeautifulSoup(path.read_text(), "html.parser") for path in paths}
    links = [(path, link["href"]) for path, page in pages.items() for link in page("a", href=True)]
    assert len(links) > 1000
    assert [link for link in links if leads_nowhere(pages, *link)] == []


def leads_nowhere(pages: dict[Path, BeautifulSoup], path: Path, link: str) -> bool:
    """Tell whether a link between our pages is broken; the others are not looked at."""
    url = urlsplit(link)
    if url.scheme:
        return False
    target = (path.parent / url.path).resolve() if url.path else path
    if target not in pages:
        return not target.exists()  # the source of a module, say
    return bool(url.fragment) and pages[target].find(id=url.fragment) is None
