"""How Sphinx builds the documentation: ``sphinx-build -W -n docs build/html``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils.nodes import reference
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from requests_gracedb import __version__  # noqa: E402

project = "requests-gracedb"
author = "The requests-gracedb developers"
copyright = author
version = release = __version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
default_role = "py:obj"
nitpicky = True

# Types are in the docstrings, with units and defaults.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = {
    "a", "any", "default", "floats", "list", "of", "optional", "or", "pairs", "two",
}
numpydoc_xref_aliases = {
    "bool": "bool",
    "callable": "collections.abc.Callable",
    "iterable": "collections.abc.Iterable",
    "mapping": "collections.abc.Mapping",
    "sequence": "collections.abc.Sequence",
}

# Names in the documentation of others: each line of these inventories is a name that we refer to.
# They are kept here so that a build needs no network, and is the same with and without one. The
# builder linkcheck tells whether the pages are still there.
intersphinx_mapping = {
    name: (url, f"inventories/{name}.txt")
    for name, url in {
        "python": "https://docs.python.org/3/",
        "requests": "https://requests.readthedocs.io/en/latest/",
        "scitokens": "https://scitokens.github.io/scitokens/",
        "urllib3": "https://urllib3.readthedocs.io/en/stable/",
    }.items()
}

# Nothing is known of it but its source.
nitpick_ignore = [("py:obj", "requests.help.info")]
# What is imported from one module, and documented in another.
DOCUMENTED = {
    "requests.exceptions.ConnectTimeout": "requests.ConnectTimeout",
    "requests.exceptions.ReadTimeout": "requests.ReadTimeout",
    "urllib3.BaseHTTPResponse": "urllib3.response.BaseHTTPResponse",
    "urllib3.PoolManager": "urllib3.poolmanager.PoolManager",
    "urllib3.ProxyManager": "urllib3.poolmanager.ProxyManager",
    "urllib3.util.retry.Retry": "urllib3.util.Retry",
}

# The prompts of examples are not copied, nor is what they print.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"requests-gracedb {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# The addresses of a GraceDB need a credential.
linkcheck_ignore = [r"https://gracedb\.ligo\.org/api/.*"]


def find_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Any
) -> reference | None:
    """Find a name of ours that a docstring uses as its module does, and not as the reader does."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"] = DOCUMENTED.get(node["reftarget"], node["reftarget"])
    domain = env.domains.python_domain
    matches = {
        (entry.docname, entry.node_id)
        for name, entry in domain.objects.items()
        if name.endswith(f".{target}")
    }
    if len(matches) != 1:
        return None
    (document, anchor), = matches
    from_document = node.get("refdoc", env.docname)
    found = reference("", "", content, internal=True)
    found["refuri"] = app.builder.get_relative_uri(from_document, document) + f"#{anchor}"
    return found


def setup(app: Sphinx) -> None:
    """Come before intersphinx."""
    app.connect("missing-reference", find_name, priority=400)
