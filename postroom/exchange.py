"""The one road to the network: an HTTP exchange with a deadline, without redirects, with sorted errors."""

from __future__ import annotations

import base64
import functools
import json as json_module
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import msgspec
import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from postroom.connection import Adapter, Exchange, Refused, Unreachable, current, watcher

ANSWER_LIMIT = 1 << 20
"""Bytes of an answer that are read."""
EXCERPT = 500
"""Characters of an answer that are kept with an error."""
LONGEST_RETRY_AFTER = 24 * 3600.0
USER_AGENT = "Postroom"

# They name whole URLs, which may hold a key.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class DeliveryError(Exception):
    """A delivery that did not succeed. The sort decides what happens next:

    - `permanent`: trying again cannot help (a 4xx other than 408, 425, 429): the delivery is dead.
    - `unknown`: the target may have done it (time-out, connection lost after sending, 5xx): it is searched for the
      marker before anything is made again.
    - neither: it did not happen, and may succeed later.

    `item_gone` says that the item to comment on is no more: it is forgotten, and the next attempt makes one.
    `limited`: the destination asks for fewer requests: all of its deliveries wait. `closed`: it wants none any more
    (410): it is paused until a person resumes it.
    `retry_after` is the target's own wish in seconds. `status` and `answer` are kept with the attempt. No secret may
    stand in any of them.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        unknown: bool = False,
        status: int | None = None,
        answer: str = "",
        item_gone: bool = False,
        limited: bool = False,
        closed: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.retry_after = retry_after
        self.unknown = unknown
        self.status = status
        self.answer = answer
        self.item_gone = item_gone
        self.limited = limited
        self.closed = closed


class NothingToDo(Exception):
    """A delivery that must make nothing, and why: an answer to a mail that must get none. No fault, and never retried.

    It is raised before anything is sent.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of headers compare without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False
    """True where the answer was longer than was to be read."""
    host: str = ""
    mask: Callable[[str], str] = field(default=str, repr=False)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The answer as JSON. Raises DeliveryError, result unknown, where it is none: the request was obeyed."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            kind = "a longer answer than is read" if self.truncated else "no JSON"
            raise self.error(f"{self.host} answered {self.status} with {kind}", unknown=True) from None

    @property
    def mapping(self) -> dict[str, Any]:
        """The answer as a JSON object; empty where it is none: for errors, whose form nobody promises."""
        try:
            document = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def error(
        self,
        reason: str,
        *,
        permanent: bool = False,
        unknown: bool = False,
        retry_after: float | None = None,
        item_gone: bool = False,
        limited: bool = False,
    ) -> DeliveryError:
        """A DeliveryError about this answer, secrets masked."""
        return DeliveryError(
            self.mask(reason),
            permanent=permanent,
            unknown=unknown,
            retry_after=retry_after,
            status=self.status,
            # Masked before it is cut: half a secret would not be found. What is masked may be as long as it likes.
            answer=self.mask(self.body[: 16 * EXCERPT].decode("utf-8", "replace"))[:EXCERPT],
            item_gone=item_gone,
            limited=limited,
        )


class _Sized:
    """A body of known length that is read as it is sent: most servers refuse one without a length."""

    def __init__(self, chunks: Iterable[bytes], size: int) -> None:
        self._chunks = chunks
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def __len__(self) -> int:
        return self._size


class Http:
    """The road to one destination, for all its threads at once. Connections are kept alive.

    `timeout` in seconds bounds the whole exchange: resolving, connecting, sending, and the last byte of the answer.
    Private, loopback, link-local and metadata addresses are refused without `allow_private`. Proxies and .netrc of
    the environment are ignored, certificates verified, cookies forgotten. Every text in `secrets` is masked in errors,
    also in base64, percent-encoded or JSON form.
    """

    def __init__(
        self,
        *,
        timeout: float,
        allow_private: bool = False,
        secrets: Iterable[str] = (),
        user_agent: str = USER_AGENT,
        connections: int = 16,
    ) -> None:
        self.timeout = timeout
        self.allow_private = allow_private
        self.mask = masking(secrets)
        """The text with every secret as ***."""
        self._user_agent = user_agent
        self._adapter = Adapter(connections)
        # The watcher ends the exchange; this only says how long one read may last at most.
        self._patience = timeout + 1

    def __repr__(self) -> str:
        return f"Http(timeout={self.timeout}, allow_private={self.allow_private})"

    def get(self, url: str, **options: Any) -> Answer:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Answer:
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Answer:
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> Answer:
        return self.request("PATCH", url, **options)

    def close(self) -> None:
        """Closes the connections that are idle."""
        self._adapter.close()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | Iterable[bytes] | None = None,
        size: int | None = None,
        params: Mapping[str, str | int] | None = None,
        auth: tuple[str, str] | None = None,
        expect: Collection[int] | None = None,
        limit: int = ANSWER_LIMIT,
    ) -> Answer:
        """One exchange. The answer comes back where its status is in `expect`, by default any 2xx; all else is raised.

        Of the answer, `limit` bytes are read. `data` may be an iterable of chunks, with its `size` in bytes where that
        is known. `auth` is user and password.
        Raises DeliveryError, sorted.
        """
        host = _host(url)
        request = self._prepare(method, url, headers, json, data, size, params, auth)
        exchange = current.exchange = Exchange(self.timeout, self.allow_private)
        watcher.add(exchange)
        try:
            response = self._adapter.send(request, stream=True, timeout=self._patience)
            raw = response.raw
            body = raw.read(limit + 1, decode_content=True)
            truncated = len(body) > limit
            if truncated:
                raw.close()
            raw.release_conn()
        except Refused:
            raise DeliveryError(
                f"{host} is a private address; reaching it needs `allow_private: true` at the destination",
                permanent=True,
            ) from None
        except Unreachable as error:
            raise DeliveryError(f"{host} cannot be reached: {error}") from None
        except (OSError, urllib3.exceptions.HTTPError, requests.RequestException) as error:
            raise self._lost(host, exchange, error) from None
        except (ValueError, TypeError) as error:
            if exchange.sent:
                raise self._lost(host, exchange, error) from None
            raise DeliveryError(f"the request to {host} cannot be made", permanent=True) from None
        finally:
            watcher.remove(exchange)
        if exchange.expired:  # an answer without a length seems whole when its socket is shut
            raise self._lost(host, exchange, None)
        answer = Answer(response.status_code, response.headers, body[:limit], truncated, host, self.mask)
        if (200 <= answer.status < 300) if expect is None else (answer.status in expect):
            return answer
        raise sorted_error(answer)

    def _prepare(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        json: Any,
        data: bytes | Iterable[bytes] | None,
        size: int | None,
        params: Mapping[str, str | int] | None,
        auth: tuple[str, str] | None,
    ) -> requests.PreparedRequest:
        # Answers are wanted as they are: one that is small packed may be huge unpacked.
        everything: CaseInsensitiveDict[str] = CaseInsensitiveDict(
            {"User-Agent": self._user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
        )
        body: Any = data
        try:
            if json is not None:
                body = msgspec.json.encode(json)
                everything["Content-Type"] = "application/json"
            elif data is not None and size is not None and not isinstance(data, bytes):
                body = _Sized(data, size) if size else b"".join(data)
            everything.update(headers or {})
            request = requests.PreparedRequest()
            request.prepare(method=method, url=url, headers=everything, data=body, params=params, auth=auth)
        except (requests.RequestException, ValueError, TypeError):
            # No detail: it would show the value.
            raise DeliveryError(f"the request to {_host(url)} cannot be made", permanent=True) from None
        return request

    def _lost(self, host: str, exchange: Exchange, error: Exception | None) -> DeliveryError:
        """The error of an exchange that brought no whole answer."""
        if exchange.expired or exchange.ends <= time.monotonic():
            what = "did not answer" if exchange.sent else "was not reached"
            return DeliveryError(f"{host} {what} within {self.timeout:g} s", unknown=exchange.sent)
        if not exchange.sent:
            detail = _tls_detail(error)
            how = f"no encrypted connection ({detail})" if detail else "the connection failed"
            return DeliveryError(self.mask(f"{host} cannot be reached: {how}"))
        return DeliveryError(f"{host} closed the connection before its answer was whole", unknown=True)


def inside(document: Any, *names: str) -> Any:
    """A value inside of nested mappings of an answer; None where there is none."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def sorted_error(answer: Answer) -> DeliveryError:
    """The sort of a status that is no success."""
    status, host = answer.status, answer.host
    said = f"{host} answered {status}"
    if status in (408, 425, 429):
        wish = retry_after(answer.headers.get("Retry-After"))
        return answer.error(said, retry_after=wish, limited=status == 429)
    if 300 <= status < 400:
        target = _host(answer.headers.get("Location") or "")
        where = f" (to {target})" if target else ""
        return answer.error(f"{said}: a redirect{where}, which is not followed", permanent=True)
    if 400 <= status < 500:
        return answer.error(said + (": it is gone" if status == 410 else ""), permanent=True)
    return answer.error(said, unknown=True, retry_after=retry_after(answer.headers.get("Retry-After")))


def retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3), at most a day; None for what is past or makes no sense."""
    if not value:
        return None
    value = value.strip()
    try:
        seconds = float(value) if value[0] in "0123456789" and len(value) < 16 else _until(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if not math.isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, LONGEST_RETRY_AFTER)


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


@functools.lru_cache(maxsize=512)
def _host(url: str) -> str:
    """Host and port of a URL: all of it that may be shown."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    return f"{parts.hostname}{port}" if parts.hostname else ""


def _tls_detail(error: BaseException | None) -> str:
    """What OpenSSL says of a failed handshake, such as `certificate has expired`."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        detail = getattr(error, "verify_message", None) or getattr(error, "reason", None)
        if isinstance(detail, str):
            return detail.replace("_", " ").lower()
        error = (
            detail
            if isinstance(detail, BaseException)
            else next(
                (part for part in error.args if isinstance(part, BaseException)), error.__cause__ or error.__context__
            )
        )
    return ""


def masking(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that gives a text with every secret as ***, in whatever form."""
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)

    def mask(text: str) -> str:
        for form in forms:
            if form in text:
                text = text.replace(form, "***")
        return text

    return mask


def _forms(secret: str) -> set[str]:
    """The ways a secret may come back in an answer: as it is, percent-encoded, in JSON, in base64.

    Base64 of a longer text (`user:secret` of Basic authentication) shows the secret in one of three alignments.
    """
    if not secret:
        return set()
    forms = {secret, quote(secret, safe=""), quote_plus(secret)}
    forms |= {json_module.dumps(secret)[1:-1], json_module.dumps(secret, ensure_ascii=False)[1:-1]}
    raw = secret.encode("utf-8", "replace")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(raw).decode().rstrip("="))
        for before in range(3):
            shifted = encode(bytes(before) + raw).decode()
            start = -(-before * 8 // 6)
            core = shifted[start : (before + len(raw)) * 8 // 6]
            if len(core) >= 8:
                forms.add(core)
    return forms
