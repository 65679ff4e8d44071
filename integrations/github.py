"""Kind `github`: opens an issue on GitHub, and comments on it as the conversation goes on.

https://docs.github.com/en/rest/issues, API version 2022-11-28, which GitHub Enterprise Server knows too. GitHub has no
idempotency key: each text ends in the delivery's marker, inside of an HTML comment, which GitHub does not show and the
API returns. It is looked for in the lists of issues and comments, not by the search, whose index is minutes late.
GitHub promises of no list that it shows at once what was made: so the guarantee is that of a search that lags.

There is no API for attachments: the text names each, and leads to the page of the mail.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from postroom.composition import compose, names_of_attachments, title_of
from postroom.exchange import LONGEST_RETRY_AFTER, Answer, retry_after
from postroom.fields import Json, Secret, Url
from postroom.integration import DeliveryError, Guarantee, Http, Integration, Job, Markup, Receipt, setting
from postroom.pages import rows
from postroom.remembered import Remembered

_TITLE, _BODY = 256, 65_536
_KEEP_NAMES = 600.0
"""Seconds for which the numbers of milestones are remembered."""
_LEEWAY = 3600.0
"""Seconds by which GitHub's clock may be behind ours."""
_MOVED = (301, 302, 307, 308)
_SORTED_HERE = frozenset(range(200, 500)) - {408, 425}
_REPOSITORY = re.compile(r"[\w-][\w.-]*/(?!\.{1,2}(?:#|$))[\w.-]+", re.ASCII)
_CODES = {
    "missing": "does not exist",
    "missing_field": "is missing",
    "invalid": "is invalid",
    "already_exists": "exists already",
    "unprocessable": "cannot be taken",
}
"""https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api, on validation."""


@dataclass(frozen=True)
class GithubOptions:
    url: Url = setting(
        "address of the API; of GitHub Enterprise Server `https://HOST/api/v3`", default=Url("https://api.github.com")
    )
    token: Secret = setting("personal access token (fine-grained or classic), or a token of a GitHub App")
    repository: str | None = setting("`owner/name` of the repository where a rule names none", default=None)


@dataclass(frozen=True)
class GithubFields:
    repository: str | None = setting("`owner/name` of the repository", default=None)
    labels: list[str] | None = setting("names of labels; those that do not exist are made", default=None)
    assignees: list[str] | None = setting("user names, at most ten", default=None)
    assignee: str | None = setting("one more user name", default=None)
    milestone: str | None = setting("number or title of a milestone of the repository", default=None)
    type: str | None = setting(
        "name of an issue type, such as Bug; only in repositories of organisations", default=None
    )
    fields: dict[str, Json] | None = setting("anything else that GitHub takes with a new issue, by name", default=None)


class Github(Integration):
    """Opens issues and comments on them. The reference is `owner/name#12`."""

    kind = "github"
    summary = "Opens an issue on GitHub; later mail of the conversation becomes comments on it."
    guarantee = Guarantee.LAGGING_SEARCH
    search_lag = 60.0
    example = """\
kind: github
token: "${GITHUB_TOKEN}"
repository: example/support
"""
    Options = GithubOptions
    Fields = GithubFields

    def __init__(self, name: str, options: GithubOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        if urlsplit(options.url).hostname in ("github.com", "www.github.com"):
            raise ValueError("url: the API of GitHub is at https://api.github.com")
        if options.repository is not None and not _REPOSITORY.fullmatch(options.repository):
            raise ValueError(f"repository: '{options.repository}' is no repository; write owner/name")
        self._api = options.url.rstrip("/")
        self._web = web_address(self._api)
        self._headers = {
            "Authorization": f"Bearer {options.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        self._milestones = Remembered(_KEEP_NAMES)

    @classmethod
    def markup(cls, options: GithubOptions) -> Markup:
        return Markup.MARKDOWN

    def deliver(self, job: Job) -> Receipt:
        reference = job.once(job.part, lambda: self._create(job) if job.item is None else self._comment(job))
        if job.content.state:
            job.once("state", lambda: self._set_state(reference, job.content.state))
        return self._receipt(reference)

    def find(self, job: Job) -> Receipt | None:
        """The comment with the marker, or the oldest issue with it: others may quote it later."""
        since = datetime.datetime.fromtimestamp(job.message.received_at / 1000 - _LEEWAY, datetime.UTC)
        window = {"since": since.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if job.item is not None:
            repository, number = _parts(job.item.reference)
            try:
                comments = self._list(f"/repos/{repository}/issues/{number}/comments", window)
                if any(_hidden(job) in str(row.get("body")) for row in comments):
                    return self._receipt(f"{repository}#{number}")
            except DeliveryError as error:
                if error.status not in (404, 410, *_MOVED):
                    raise  # Else nothing can be there, and `deliver` says so.
            if job.content.update:
                return None
        chosen = self._repository(job)
        window |= {"state": "all", "sort": "created", "direction": "desc"}
        found = [
            row["number"]
            for row in self._list(f"/repos/{chosen}/issues", window)
            if _hidden(job) in str(row.get("body")) and "pull_request" not in row and _is_number(row.get("number"))
        ]
        return self._receipt(f"{chosen}#{min(found)}") if found else None

    def check(self) -> Sequence[str]:
        told = []
        user = self._ask("GET", "/user", also=(403,))
        if user.status == 403 and "integration" in _message(user):
            told.append("known as an installation of a GitHub App")
        elif user.status == 403 or not _text(user, "login"):
            raise self._error(user)
        else:
            name = _text(user, "name")
            told.append(f"known as {_text(user, 'login')}" + (f" ({name})" if name else ""))
        scopes = user.headers.get("X-OAuth-Scopes")
        if scopes is not None and not {"repo", "public_repo"} & {scope.strip() for scope in scopes.split(",")}:
            told.append("the token has neither the scope `repo` nor `public_repo`: it may open no issues")
        if self.options.repository is None:
            return [*told, "each rule must name a repository: the destination names none"]
        return [*told, *_rights(self.options.repository, self._ask("GET", f"/repos/{self.options.repository}"))]

    def _create(self, job: Job) -> str:
        repository, fields = self._repository(job), job.content.fields
        milestone = self._milestone(repository, str(fields["milestone"])) if fields.get("milestone") else None
        text = compose(
            job, Markup.MARKDOWN, title_limit=_TITLE, notes=names_of_attachments(job), marker=_hidden(job), limit=_BODY
        )
        answer = self._ask(
            "POST",
            f"/repos/{repository}/issues",
            json=issue_body(title_of(job, _TITLE), text, fields, milestone),
            also=(404, 410),
        )
        if answer.status == 404:
            reason = f"GitHub knows no repository {repository}, or the token may not open issues there"
            raise answer.error(reason, permanent=True)
        if answer.status == 410:
            raise answer.error(f"issues are disabled in {repository}", permanent=True)
        number = answer.json()
        number = number.get("number") if isinstance(number, dict) else None
        if not _is_number(number):
            raise answer.error("GitHub's answer names no issue", unknown=True)
        return f"{repository}#{number}"

    def _comment(self, job: Job) -> str:
        repository, number = _parts(job.item.reference if job.item else None)
        reference = f"{repository}#{number}"
        text = compose(job, Markup.MARKDOWN, notes=names_of_attachments(job), marker=_hidden(job), limit=_BODY)
        answer = self._ask(
            "POST",
            f"/repos/{repository}/issues/{number}/comments",
            json={"body": text},
            also=(403, 404, 410, *_MOVED),
        )
        if answer.status in (404, 410):
            raise answer.error(f"{reference} is gone from GitHub, or hidden from this token", item_gone=True)
        if answer.status in _MOVED:
            raise answer.error(f"{reference} has moved to another repository", item_gone=True)
        if answer.status == 403 and "lock" in _message(answer).lower() and _limit(answer) is None:
            raise answer.error(f"{reference} is locked: GitHub takes no comments on it", item_gone=True)
        if answer.status == 403:
            raise self._error(answer)
        return reference

    def _set_state(self, reference: str, state: str) -> str:
        """Twice the same changes nothing: GitHub ignores the reason where the state stays."""
        repository, number = _parts(reference)
        wanted = {"state": state, "state_reason": "completed" if state == "closed" else "reopened"}
        self._ask("PATCH", f"/repos/{repository}/issues/{number}", json=wanted)
        return state

    def _repository(self, job: Job) -> str:
        repository = str(job.content.fields.get("repository") or self.options.repository or "").strip()
        if not repository:
            raise DeliveryError("neither the rule nor the destination names a repository", permanent=True)
        if not _REPOSITORY.fullmatch(repository):
            raise DeliveryError(f"'{repository[:100]}' is no repository; it is owner/name", permanent=True)
        return repository

    def _milestone(self, repository: str, value: str) -> int:
        """The number of a milestone by its title. A number is one already."""
        value = value.strip()
        if value.isascii() and value.isdigit():
            return int(value)
        wanted = value.casefold()

        def look() -> dict[str, int]:
            listed = self._list(f"/repos/{repository}/milestones", {"state": "all"})
            return {str(row.get("title")).casefold(): row["number"] for row in listed if _is_number(row.get("number"))}

        try:
            known = self._milestones.get(repository, look, holds=lambda titles: wanted in titles)
        except DeliveryError as error:
            error.unknown = False  # Nothing was made yet.
            raise
        if wanted not in known:
            names = ", ".join(sorted(known)[:20]) or "none"
            raise DeliveryError(f"{repository} has no milestone '{value}'; it has {names}", permanent=True)
        return known[wanted]

    def _list(self, path: str, params: dict[str, str]) -> Any:
        return rows(lambda page, size: self._ask("GET", path, params={**params, "page": page, "per_page": size}))

    def _ask(self, method: str, path: str, *, also: Sequence[int] = (), **options: Any) -> Answer:
        """One exchange: any 2xx, and what is in `also`, comes back."""
        answer = self.http.request(method, self._api + path, headers=self._headers, expect=_SORTED_HERE, **options)
        if 200 <= answer.status < 300 or answer.status in also:
            return answer
        raise self._error(answer)

    def _error(self, answer: Answer) -> DeliveryError:
        wait, message = _limit(answer), _message(answer)
        if wait is not None:
            return answer.error(f"GitHub asks for fewer requests: {message}", retry_after=wait, limited=True)
        if answer.status in _MOVED:
            return answer.error("the repository has moved: write its new name into the settings", permanent=True)
        if answer.status == 401:
            return answer.error(f"GitHub does not take the token: {message}", permanent=True)
        if answer.status == 422:
            return answer.error(f"GitHub refused it: {message}", permanent=True)
        return answer.error(f"GitHub answered {answer.status}: {message}", permanent=True)

    def _receipt(self, reference: str) -> Receipt:
        repository, number = _parts(reference)
        return Receipt(reference, f"{self._web}/{repository}/issues/{number}")


def issue_body(title: str, text: str, fields: dict[str, Any], milestone: int | None) -> dict[str, Any]:
    """The body of `POST /repos/{owner}/{repo}/issues`."""
    people = [*(fields.get("assignees") or []), *([fields["assignee"]] if fields.get("assignee") else [])]
    issue: dict[str, Any] = {**(fields.get("fields") or {}), "title": title, "body": text}
    if fields.get("labels"):
        issue["labels"] = list(dict.fromkeys(fields["labels"]))
    if people:
        issue["assignees"] = list(dict.fromkeys(person.strip().lstrip("@") for person in people))
    if milestone is not None:
        issue["milestone"] = milestone
    if fields.get("type"):
        issue["type"] = fields["type"]
    return issue


def web_address(api: str) -> str:
    """Where people see what the API of this address made."""
    parts = urlsplit(api)
    host = parts.netloc
    if host == "api.github.com" or (host.startswith("api.") and host.endswith(".ghe.com")):
        return f"{parts.scheme}://{host.removeprefix('api.')}"
    return api.removesuffix("/api/v3")


def _hidden(job: Job) -> str:
    return f"<!-- {job.marker} -->"


def _parts(reference: str | None) -> tuple[str, str]:
    """Repository and number of `owner/name#12`."""
    repository, _, number = (reference or "").rpartition("#")
    if not _REPOSITORY.fullmatch(repository) or not re.fullmatch(r"[0-9]{1,18}", number):
        raise DeliveryError(f"the item '{reference}' is no issue of GitHub", permanent=True)
    return repository, number


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _limit(answer: Answer) -> float | None:
    """Seconds to wait where this is a rate limit, which GitHub tells by 403 as well as by 429.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    message = _message(answer).lower()
    if answer.status not in (403, 429) and "submitted too quickly" not in message:
        return None
    wish = retry_after(answer.headers.get("Retry-After"))
    if wish is not None:
        return wish
    reset = answer.headers.get("X-RateLimit-Reset") or ""
    if answer.headers.get("X-RateLimit-Remaining") == "0" and re.fullmatch(r"[0-9]{1,12}", reset):
        return min(max(int(reset) - time.time(), 1.0), LONGEST_RETRY_AFTER)
    told = "rate limit" in message or "abuse" in message or "submitted too quickly" in message
    return 60.0 if told or answer.status == 429 else None


def _message(answer: Answer) -> str:
    """GitHub's own sentences: {"message", "errors": [{"resource", "field", "code", "message"}]}."""
    document = answer.mapping
    said = [str(document["message"]).rstrip(".")] if document.get("message") else []
    errors = document.get("errors")
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            said.append(str(error))
        elif error.get("message"):
            said.append(str(error["message"]))
        else:
            code = str(error.get("code"))
            value = f" ({error['value']})" if error.get("value") else ""
            said.append(f"{error.get('field') or error.get('resource')} {_CODES.get(code, code)}{value}")
    return "; ".join(said)[:400] or "no reason given"


def _text(answer: Answer, name: str) -> str:
    value = answer.mapping.get(name)
    return value if isinstance(value, str) else ""


def _rights(repository: str, answer: Answer) -> list[str]:
    """What a check tells of a repository."""
    found = answer.mapping
    permissions = found.get("permissions")
    rights = permissions if isinstance(permissions, dict) else {}
    if found.get("archived") is True:
        return [f"{repository} is archived: nothing can be added"]
    if found.get("has_issues") is False:
        return [f"issues are disabled in {repository}"]
    told = [f"sees {repository}, where issues can be opened"]
    if rights and not (rights.get("push") or rights.get("triage")):
        told.append(
            f"has no write access to {repository}: GitHub drops labels, assignees, milestone and type in silence"
        )
    return told
