"""The OpenAPI 3.1 document, made from the routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from postroom import __version__
from postroom.web.api.contract import Download, Problem, Route, is_optional

PREFIX = "/api/v1"
_REFERENCES = "#/components/schemas/{name}"
_TIME = re.compile(r"(at|.*_at|since|until|.*_until)")
_MILLISECONDS = "Milliseconds since 1970-01-01T00:00:00Z."
_DESCRIPTION = """\
Everything that the dashboard shows and does, for programs.

Send a token as `Authorization: Bearer TOKEN`. Times are milliseconds since 1970 (UTC). Errors are RFC 9457 problem
documents. Texts come from strangers' mail: whoever shows them escapes them. New members may be added to answers at any
time; a path or a member goes away only with a new version in the path."""


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document, ready to be encoded."""
    types: list[Any] = [Problem]
    for route in routes:
        types += [each for each in (route.answers, route.body) if each is not None and each is not Download]
    found, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCES)
    by_type = list(zip(types, found, strict=True))
    for schema in schemas.values():
        _tell_times(schema)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Postroom", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, by_type: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    role = f" Needs the role {route.role}." if route.role not in ("", "viewer") else ""
    made: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.path.split("/")[1].partition(".")[0]],
        "summary": route.summary.removesuffix("."),
        "description": route.summary + role,
        "parameters": [*_parameters(route.takes, "path"), *_parameters(route.query, "query")],
        "responses": {"200": _answer(route, by_type)},
    }
    if not route.role:
        made["security"] = []
    if route.body is not None:
        schema = dict(_schema_of(route.body, by_type))
        if route.one_of:
            schema["oneOf"] = [{"required": [name]} for name in route.one_of]
        content = {"application/json": {"schema": schema}}
        made["requestBody"] = {"required": not is_optional(route.body), "content": content}
    for status, meaning in route.statuses.items():
        content = {"application/problem+json": {"schema": _schema_of(Problem, by_type)}}
        answer: dict[str, Any] = {"description": meaning, "content": content}
        if status == 401:
            answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
        made["responses"][str(status)] = answer
    return made


def _answer(route: Route, by_type: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    if route.answers is Download:
        return {"description": "The bytes.", "content": {"application/octet-stream": {"schema": {}}}}
    return {
        "description": "Done." if route.method != "GET" else "Found.",
        "content": {"application/json": {"schema": _schema_of(route.answers, by_type)}},
    }


def _schema_of(type: Any, by_type: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    return next(schema for each, schema in by_type if each is type)


def _parameters(struct: type[msgspec.Struct], where: str) -> list[dict[str, Any]]:
    # Parameters stand in no component: each is told in its place.
    _, components = msgspec.json.schema_components([struct], ref_template=_REFERENCES)
    schema = components[struct.__name__]
    found = []
    for name, inner in schema["properties"].items():
        told = dict(inner)
        parameter: dict[str, Any] = {"name": name, "in": where, "required": name in schema["required"]}
        if description := told.pop("description", ""):
            parameter["description"] = description
        found.append({**parameter, "schema": told})
    return found


def _tell_times(schema: dict[str, Any]) -> None:
    for name, inner in schema.get("properties", {}).items():
        types = [inner, *inner.get("anyOf", ())]
        if _TIME.fullmatch(name) and any(each.get("type") == "integer" for each in types):
            inner.setdefault("description", _MILLISECONDS)
