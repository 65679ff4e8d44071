"""`/api/v1`: everything that the dashboard's pages show and do, as JSON, with an OpenAPI document of it.

| module | what |
| --- | --- |
| `contract` | what a route says of itself; `document` makes the OpenAPI document of it, `serving` checks and answers |
| `messages`, `destinations`, `figures`, ... | the routes, by resource |

Status 400: a parameter makes no sense, 401: no token that is known, 403: its role is too low, 404: no such thing,
405: not that method, 409: it stands in a state where this means nothing, 413: the body is too large, 415: it is no
JSON, 422: it is JSON of another form, 503: the store cannot be used now. Each is a problem document (RFC 9457).
"""

from postroom.web.api.serving import install

__all__ = ("install",)
