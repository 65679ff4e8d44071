from __future__ import annotations

import html
import re
from email import message_from_bytes
from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin

CATEGORIES = [
    {"id": 3, "name": "First category", "level": 0, "post": {"close": True, "hide": True, "pin": 2}},
    {"id": 4, "name": "Support", "level": 0, "post": False},
    {"id": 5, "name": "Printers", "level": 1, "post": {"close": True, "hide": True, "pin": 2}},
    {"id": 6, "name": "Archive", "level": 0, "post": False},
    {"id": 7, "name": "Printers", "level": 1, "post": {"close": False, "hide": False, "pin": 0}},
]


def detail(text: str, status: int) -> Reply:
    return Reply.of({"detail": text}, status)


class FakeMisago:
    """As much of Misago's API as the kind uses, with the shapes and the words of a real 0.39."""

    def __init__(self) -> None:
        self.threads: dict[int, dict[str, Any]] = {}
        self.posts: list[dict[str, Any]] = []
        self.files: dict[int, dict[str, Any]] = {}
        self.sessions: set[str] = set()
        self.signed_in = 0
        self.flood = False
        self.searches = True
        self.moderated = False
        """What is posted waits for approval: no search shows it."""
        self.per_page = 3

    def __call__(self, request: Request) -> Reply:
        cookies = dict(part.split("=", 1) for part in request.headers.get("cookie", "").split("; ") if "=" in part)
        if request.method != "GET" and request.headers.get("x-csrftoken") != cookies.get("csrftoken", "none"):
            return detail("Request authentication is invalid.", 403)
        known = cookies.get("sessionid") in self.sessions
        if request.path == "/api/auth/":
            return self._sign_in(request) if request.method == "POST" else Reply.of(self._who(known))
        if not known:
            return detail("This action is not available to guests.", 403)
        if request.path == "/api/threads/editor/":
            return Reply.of(CATEGORIES)
        if request.path == "/api/attachments/":
            return self._upload(request)
        if request.path == "/api/search/threads/":
            return self._search(request.query["q"])
        if request.path == "/api/threads/":
            return self._start(request) if request.method == "POST" else Reply.of({"results": self._mine()})
        found = re.fullmatch(r"/api/threads/(\d+)/(posts/)?", request.path)
        thread = self.threads.get(int(found[1])) if found else None
        if found is None or thread is None:
            return detail("Not found.", 404)
        if found[2]:
            return self._reply(request, thread) if request.method == "POST" else self._page(request, thread)
        return self._change(request, thread) if request.method == "PATCH" else Reply.of(self._told(thread))

    def _sign_in(self, request: Request) -> Reply:
        if request.json() != {"username": "Postroom", "password": SECRET}:
            return Reply.of({"code": "invalid_login", "detail": "Login or password is incorrect."}, 400)
        self.signed_in += 1
        self.sessions.add(f"session{self.signed_in}")
        dates = "expires=Tue, 23 Nov 2027 20:20:33 GMT; Path=/; SameSite=Lax"
        cookies = f"csrftoken=token{self.signed_in}; {dates}, sessionid=session{self.signed_in}; {dates}; HttpOnly"
        return Reply.of(self._who(True), 200, **{"Set-Cookie": cookies})

    def _who(self, known: bool) -> dict[str, Any]:
        if not known:
            return {"id": None, "acl": {"max_attachment_size": 0}}
        return {"id": 2, "username": "Postroom", "email": "bot@example.com", "acl": {"max_attachment_size": 4096}}

    def _upload(self, request: Request) -> Reply:
        form = message_from_bytes(b"Content-Type: " + request.headers["content-type"].encode() + b"\n\n" + request.body)
        (part,) = form.get_payload()
        assert part.get_param("name", header="content-disposition") == "upload"
        name, data = str(part.get_filename()), part.get_payload(decode=True)
        if name.endswith(".exe") or part.get_content_type() == "application/octet-stream":
            return detail("You can't upload files of this type.", 400)
        if len(data) > 4_194_304:
            return detail("You can't upload files larger than 4.0 MB (your file has 5.0 MB).", 400)
        number = len(self.files) + 1
        self.files[number] = {"filename": name, "size": len(data), "post": None}
        url = {"index": f"/a/sEcReT{number}/{number}/", "thumb": None, "uploader": "/u/postroom/2/"}
        return Reply.of({"id": number, "filename": name, "is_image": name.endswith(".png"), "url": url})

    def _refusal(self, body: dict[str, Any]) -> Reply | None:
        errors = {}
        if len(body.get("post") or "") < 5:
            errors["post"] = ["Posted message should be at least 5 characters long (it has 1)."]
        if "category" in body and not 5 <= len(body.get("title") or "") <= 90:
            errors["title"] = ["Thread title should be at least 5 characters long (it has 1)."]
        if "category" in body and not any(each["id"] == body["category"] and each["post"] for each in CATEGORIES):
            errors["category"] = ["Selected category is invalid."]
        if len(body.get("attachments", [])) > 16:
            errors["attachments"] = ["You can't attach more than 16 flies to single post (added 17)."]
        if errors:
            return Reply.of(errors, 400)
        return detail("You can't post message so quickly after previous one.", 403) if self.flood else None

    def _start(self, request: Request) -> Reply:
        body = request.json()
        if refusal := self._refusal(body):
            return refusal
        number = len(self.threads) + 1
        self.threads[number] = {"id": number, "sent": body, "is_closed": False, "can_reply": True}
        self._post(number, body)
        return Reply.of({"id": number, "title": body["title"], "url": f"/t/slug/{number}/"})

    def _reply(self, request: Request, thread: dict[str, Any]) -> Reply:
        if not thread["can_reply"]:
            return detail("You can't reply to closed threads in this category.", 403)
        return self._refusal(request.json()) or Reply.of(self._post(thread["id"], request.json()))

    def _post(self, thread: int, body: dict[str, Any]) -> dict[str, Any]:
        number = len(self.posts) + 1
        # Files that are not one's own, or hang at another post, are passed over in silence.
        files = [each for each in body.get("attachments", []) if each in self.files and not self.files[each]["post"]]
        for each in files:
            self.files[each]["post"] = number
        content = "".join(f"<p>{html.escape(part)}</p>" for part in body["post"].split("\n\n"))
        api = {"index": f"/api/threads/{thread}/posts/{number}/"}
        self.posts.append({"id": number, "content": content, "api": api, "thread_id": thread, "original": body["post"]})
        return self.posts[-1]

    def _search(self, text: str) -> Reply:
        if not self.searches:
            return detail("You don't have permission to search site.", 403)
        # The newest first: in the real one relevance decides.
        found = [post for post in self.posts[::-1] if text in post["content"] and not self.moderated]
        return Reply.of([{"id": "threads", "results": {"results": found}}, {"id": "users", "results": None}])

    def _mine(self) -> list[dict[str, Any]]:
        waiting = {"is_unapproved": self.moderated, "is_hidden": False}
        return [{"id": number, **waiting} for number in sorted(self.threads, reverse=True)]

    def _page(self, request: Request, thread: dict[str, Any]) -> Reply:
        posts = [post for post in self.posts if post["thread_id"] == thread["id"]]
        page, size = int(request.query.get("page", 1)), self.per_page
        pages = max(1, -(-len(posts) // size))
        if page > pages:
            return detail("Not found.", 404)
        return Reply.of({"post_set": {"results": posts[size * (page - 1) : size * page], "page": page, "pages": pages}})

    def _told(self, thread: dict[str, Any]) -> dict[str, Any]:
        return {"id": thread["id"], "is_closed": thread["is_closed"], "acl": {"can_reply": thread["can_reply"]}}

    def _change(self, request: Request, thread: dict[str, Any]) -> Reply:
        ((operation),) = request.json()
        assert (operation["op"], operation["path"]) == ("replace", "is-closed")
        if thread["sent"]["category"] == 7:
            return Reply.of({"id": thread["id"], "detail": ["You don't have permission to close this thread."]}, 400)
        thread["is_closed"] = operation["value"]
        return Reply.of({"id": thread["id"], "is_closed": thread["is_closed"], "detail": ["ok"]})


class MisagoStandin(Standin):
    kind = "misago"

    def reset(self) -> None:
        self.well = self.well or FakeMisago()
        super().reset()

    def options(self) -> dict[str, Any]:
        account = {"username": "Postroom", "password": Secret(SECRET)}
        return {"url": self.receiver.url, **account, "category": "First category"}

    def made(self) -> int:
        return len(self.well.threads)

    def texts(self) -> list[str]:
        firsts = {post["thread_id"]: post["original"] for post in reversed(self.well.posts)}
        return list(firsts.values())

    def comments(self) -> list[str]:
        texts = set(self.texts())
        return [post["original"] for post in self.well.posts if post["original"] not in texts]

    def attached(self) -> list[str]:
        return [file["filename"] for file in self.well.files.values() if file["post"]]

    def state(self) -> str:
        if not self.well.threads:
            return ""
        return "closed" if self.well.threads[max(self.well.threads)]["is_closed"] else "open"

    def mutates(self, request: Request) -> bool:
        return request.method != "GET" and request.path != "/api/auth/"
