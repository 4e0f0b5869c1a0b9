"""What GraceDB does not have, there to test clients with, and open to everyone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.client import responses
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from jwt.algorithms import RSAAlgorithm
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .authentication import CONFIG
from .base import JSON


class AnyBodyParser(BaseParser):
    """Whatever the other parsers do not know: described, not kept."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: object, parser_context: object) -> JSON:
        """Describe a body."""
        return _describe(iter(lambda: stream.read(65536), b""))


class OpenView(APIView):
    """A view for everyone and every method."""

    authentication_classes: list[type] = []
    permission_classes: list[type] = []
    parser_classes = [*APIView.parser_classes, AnyBodyParser]

    def respond(self, request: Request, **captured: str) -> HttpResponse:
        """Answer a request of whatever method."""
        raise NotImplementedError

    def get(self, request: Request, **captured: str) -> HttpResponse:
        """Answer a request."""
        return self.respond(request, **captured)

    post = put = patch = delete = get


class Echo(OpenView):
    """What arrived, but for the secret in it."""

    def respond(self, request: Request, **_: str) -> Response:
        """Tell it."""
        headers = dict(request.headers)
        if "Authorization" in headers:
            headers["Authorization"] = headers["Authorization"].partition(" ")[0]
        form = dict(request.POST.lists())
        return Response({
            "method": request.method,
            "path": request.get_full_path(),
            "headers": headers,
            "fields": form,
            "files": [
                {"name": name, **_describe_file(file)}
                for name, files in request.FILES.lists() for file in files
            ],
            "body": None if form or request.FILES else request.data,
        })


class Redirect(OpenView):
    """Somewhere else."""

    def respond(self, request: Request, code: str = "302", **_: str) -> HttpResponse:
        """Send the client there."""
        url = request.query_params.get("url", "/api/")
        return HttpResponse(status=int(code), headers={"Location": url})


class Status(OpenView):
    """A status."""

    def respond(self, request: Request, code: str = "200", **_: str) -> Response:
        """Answer with it."""
        return Response({"detail": responses.get(int(code), "Unknown")}, status=int(code))


def issuer(request: HttpRequest) -> HttpResponse:
    """Tell where the key is that tokens are verified with: some clients do so themselves."""
    return JsonResponse({"issuer": CONFIG.issuer, "jwks_uri": f"{CONFIG.issuer}/jwks"})


def keys(request: HttpRequest) -> HttpResponse:
    """Show this key."""
    key = RSAAlgorithm(RSAAlgorithm.SHA256).prepare_key(CONFIG.public_key)
    jwk = RSAAlgorithm.to_jwk(key, as_dict=True)
    return JsonResponse({"keys": [{**jwk, "alg": "RS256", "use": "sig", "kid": "1"}]})


def login(request: HttpRequest) -> HttpResponse:
    """Show the page that a gateway sends those to whom it does not know."""
    return HttpResponse("<html><body><h1>Log in</h1></body></html>")


def _describe_file(file: UploadedFile) -> JSON:
    content = {"filename": file.name, "content_type": file.content_type}
    return {**content, **_describe(file.chunks())}


def _describe(chunks: Iterator[bytes]) -> JSON:
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}
