"""Answers requests below /api/v1 by the routes: token, role, parameters, body, then the handler.

It takes these requests before Flask looks for a page: no cookie counts here, hence no CSRF token is needed.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from flask import Flask, Response, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from postroom.dashboard_config import ROLES
from postroom.web.api.contract import LARGEST_BODY, UNSET, Call, Download, Fault, Nothing, Place, Route, is_optional
from postroom.web.api.document import PREFIX, document

Authenticate = Callable[[str], tuple[str, str] | None]
"""Takes the header Authorization; gives who that is and the role, None for nobody."""

log = logging.getLogger(__name__)


def install(app: Flask, routes: Sequence[Route], authenticate: Authenticate) -> None:
    """Adds the API to an application. Before `auth.install`, so that nothing of a page is asked here."""
    served = [*routes, _own_document(routes)]
    table = Map(
        [
            Rule(each.path.replace("{", "<").replace("}", ">"), endpoint=each.name, methods=[each.method])
            for each in served
        ],
        merge_slashes=False,
        redirect_defaults=False,
    )
    by_name = {each.name: each for each in served}

    def serve() -> Response | None:
        if request.path != PREFIX and not request.path.startswith(f"{PREFIX}/"):
            return None
        try:
            return _answer(table, by_name, authenticate)
        except Fault as fault:
            return _problem(fault)
        except sqlite3.Error as error:
            log.error("the store could not be used: %s", error)
            return _problem(Fault(503, "The store cannot be read or written now.", headers={"Retry-After": "5"}))
        except HTTPException as error:
            return _problem(Fault(error.code or 500, error.description or error.name))
        except Exception:
            log.exception("a call of the API failed", extra={"path": request.path})
            return _problem(Fault(500, "Something went wrong here. The log says more."))

    app.before_request(serve)


def _own_document(routes: Sequence[Route]) -> Route:
    own = Route("GET", "/openapi.json", "This document.", lambda _: made, dict[str, Any], role="")
    made = msgspec.Raw(msgspec.json.encode(document([*routes, own])))
    return own


def _answer(table: Map, routes: Mapping[str, Route], authenticate: Authenticate) -> Response:
    route, named = _route(table, routes)
    who, role = _caller(route, authenticate)
    call = Call(
        who=who,
        role=role,
        path=_checked(named, route.takes, "path"),
        query=_checked(_single(request.args), route.query, "query"),
        body=None if route.body is None else _body(route.body, route.one_of),
    )
    answer = route.handler(call)
    if isinstance(answer, Download):
        return _download(answer)
    return Response(msgspec.json.encode(answer), content_type="application/json")


def _route(table: Map, routes: Mapping[str, Route]) -> tuple[Route, Mapping[str, Any]]:
    try:
        name, named = table.bind("").match(request.path.removeprefix(PREFIX) or "/", request.method)
    except NotFound:
        raise Fault(404, "The API has no such path.") from None
    except MethodNotAllowed as error:
        allowed = ", ".join(sorted(error.valid_methods or ()))
        raise Fault(405, f"This path takes {allowed}.", headers={"Allow": allowed}) from None
    return routes[name], named


def _caller(route: Route, authenticate: Authenticate) -> tuple[str, str]:
    if not route.role:
        return "", ""
    header = request.headers.get("Authorization", "")
    found = authenticate(header) if header else None
    if found is None:
        # RFC 6750: what is wrong with a token is told only to those who sent one.
        more = ', error="invalid_token"' if header else ""
        challenge = {"WWW-Authenticate": f'Bearer realm="Postroom"{more}'}
        raise Fault(401, "Send a token that is known: Authorization: Bearer TOKEN.", headers=challenge)
    if ROLES.index(found[1]) < ROLES.index(route.role):
        raise Fault(403, f"This needs the role {route.role}; the token has {found[1]}.")
    return found


def _single(given: MultiDict[str, str]) -> dict[str, str]:
    twice = [name for name, values in given.lists() if len(values) > 1]
    if twice:
        places = [Place(f"query.{name}", "is given more than once") for name in twice]
        raise Fault(400, "A parameter is given more than once.", places)
    return given.to_dict()


def _checked(given: Mapping[str, Any], wanted: type[msgspec.Struct], where: str) -> Any:
    if not given and wanted is Nothing:
        return Nothing()
    try:
        return msgspec.convert(given, wanted, strict=False)
    except msgspec.ValidationError as error:
        place = _place(error, where)
        raise Fault(400, f"{place.where}: {place.detail}.", [place]) from None


def _body(wanted: type[msgspec.Struct], one_of: Sequence[str]) -> Any:
    if not request.mimetype and not request.content_length and is_optional(wanted):
        return wanted()
    if request.mimetype != "application/json":
        raise Fault(415, "The body must be application/json.")
    request.max_content_length = LARGEST_BODY
    if (request.content_length or 0) > LARGEST_BODY:
        raise Fault(413, f"The body is larger than {LARGEST_BODY} bytes.")
    data = request.get_data(cache=False)
    try:
        body = msgspec.convert(_whole(msgspec.json.decode(data)), wanted)
    except msgspec.ValidationError as error:
        place = _place(error, "body")
        raise Fault(422, f"{place.where}: {place.detail}.", [place]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(400, "The body is no JSON.", [Place("body", str(error))]) from None
    if one_of and sum(getattr(body, name) is not UNSET for name in one_of) != 1:
        place = Place("body", f"Expected one of {', '.join(f'`{name}`' for name in one_of)}, and no more")
        raise Fault(422, f"{place.where}: {place.detail}.", [place])
    return body


def _whole(value: Any) -> Any:
    """The same with integers for numbers such as `1.0`: to JSON Schema these are integers."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _place(error: msgspec.ValidationError, where: str) -> Place:
    """msgspec's sentence, such as "Expected `int` >= 1 - at `$.limit`", parted into place and reason."""
    reason, _, path = str(error).partition(" - at `")
    return Place(where + path.removesuffix("`").removeprefix("$"), reason)


def _problem(fault: Fault) -> Response:
    body = msgspec.json.encode(fault.problem)
    response = Response(body, fault.problem.status, content_type="application/problem+json")
    response.headers.extend(fault.headers)
    return response


def _download(answer: Download) -> Response:
    """Something of a stranger's: no browser may open it in place or guess its type."""
    response = Response(answer.body, content_type="application/octet-stream")
    response.headers["Content-Length"] = str(answer.size)
    response.headers["Content-Disposition"] = "attachment"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
