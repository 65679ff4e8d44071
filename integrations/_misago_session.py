"""A session with Misago, which has no tokens: signing in as its own browser client does (a site of Django)."""

from __future__ import annotations

import re
import secrets
import threading
from typing import Any

from postroom.exchange import Answer, DeliveryError, Http, sorted_error
from postroom.multipart import Form

_COOKIE = re.compile(r"(?:^|,\s*)([\w.-]+)=([^;,\s]*)")
"""The cookies in Set-Cookie headers that were joined by commas."""


class BrowserSession:
    """Exchanges as one account, for all threads at once: cookies are kept in memory, and renewed when they expire.

    `account` is what `path` takes as JSON to sign in; GET of it tells who one is, with an `id` of null for guests.
    """

    def __init__(self, http: Http, url: str, path: str, account: dict[str, str]) -> None:
        self._http = http
        self._url = url
        self._path = path
        self._account = account
        self._lock = threading.Lock()
        self._cookies: dict[str, str] = {}

    def call(self, method: str, path: str, *, expect: tuple[int, ...] = (200,), **what: Any) -> Answer:
        """One exchange as the account. Where the session turns out to be over, it signs in and asks again.

        Takes `json` and `params` as Http does, and a `form`. Raises DeliveryError.
        """
        cookies = self._current()
        answer = self._send(cookies, method, path, expect, **what)
        # What is not for guests is refused to them, or not there.
        if answer.status in (401, 403, 404) and self._is_over(cookies):
            answer = self._send(self._current(), method, path, expect, **what)
        if answer.status not in expect:
            raise sorted_error(answer)
        return answer

    def ensure(self) -> None:
        """Signs in where the session is over: before a question that guests get an answer to as well."""
        if self._is_over(self._current()):
            self._current()

    def _send(
        self,
        cookies: dict[str, str],
        method: str,
        path: str,
        expect: tuple[int, ...] = (200,),
        form: Form | None = None,
        **what: Any,
    ) -> Answer:
        headers = self._headers(cookies)
        if form is not None:
            headers["Content-Type"] = form.content_type
            what |= {"data": form.chunks(), "size": form.size}
        return self._http.request(method, self._url + path, headers=headers, expect=(*expect, 401, 403, 404), **what)

    def _headers(self, cookies: dict[str, str]) -> dict[str, str]:
        return {
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            "X-CSRFToken": next((value for name, value in cookies.items() if "csrf" in name.lower()), ""),
            # Django compares it with the host where the connection is encrypted.
            "Referer": self._url + "/",
        }

    def _current(self) -> dict[str, str]:
        with self._lock:
            if not self._cookies:
                self._cookies = self._sign_in()
            return self._cookies

    def _is_over(self, cookies: dict[str, str]) -> bool:
        answer = self._send(cookies, "GET", self._path)
        told = answer.json() if answer.status == 200 else None
        if isinstance(told, dict) and isinstance(told.get("id"), int):
            return False
        with self._lock:
            if self._cookies is cookies:
                self._cookies = {}
        return True

    def _sign_in(self) -> dict[str, str]:
        # Django compares the header with the cookie, whoever made it; signing in answers with new ones.
        own = {"csrftoken": secrets.token_hex(16)}
        answer = self._http.post(
            self._url + self._path, json=self._account, headers=self._headers(own), expect=(200, 400)
        )
        told = answer.json() if answer.status == 200 or answer.body.startswith(b"{") else {}
        if answer.status == 400:
            why = told.get("detail") if isinstance(told, dict) else None
            raise answer.error(f"{answer.host} does not let the account in: {why or 'no reason given'}", permanent=True)
        cookies = dict(_COOKIE.findall(answer.headers.get("Set-Cookie") or ""))
        if not isinstance(told, dict) or not isinstance(told.get("id"), int) or not cookies:
            raise DeliveryError(f"{answer.host} answered the signing in with no session")
        return own | cookies
