from __future__ import annotations

import json
import re
from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Reply, Request
from tests.standins import Standin


def message(text: str, status: int) -> Reply:
    return Reply.of({"message": text}, status)


def collection(rows: list[dict[str, Any]], request: Request) -> Reply:
    size = min(int(request.query.get("per_page", 20)), 100)
    return Reply.of({"items": rows[:size], "total": len(rows), "count": len(rows[:size]), "page": 1, "per_page": size})


def parts_of(request: Request) -> list[tuple[str, str, bytes]]:
    """Name, file name and content of each part of a form."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    found = []
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        names = dict(re.findall(r'\b(name|filename)="([^"]*)"', head.decode()))
        found.append((names["name"], names.get("filename", ""), content.removesuffix(b"\r\n")))
    return found


class FakeRt:
    """As much of RT's REST 2.0 as the kind uses, with the shapes and oddities of a real 5.0.3."""

    def __init__(self) -> None:
        self.tickets: dict[str, dict[str, Any]] = {}
        self.transactions: list[dict[str, Any]] = []
        self.attachments: list[dict[str, Any]] = []
        self.largest = 1 << 20
        """Bytes of a request that the web server takes."""
        self.custom_fields = ["Severity"]
        self.users = {"14": "postroom", "staff": "staff"}
        self.may_create = True
        self.statuses = ("new", "open", "stalled", "resolved", "rejected", "deleted")

    def __call__(self, request: Request) -> Reply:
        if (
            not request.headers.get("authorization", "").startswith("token ")
            or SECRET not in (request.headers["authorization"])
        ):
            return message("Unauthorized", 401)
        if len(request.body) > self.largest:
            return Reply(413, b"<html>Request Entity Too Large</html>")
        path = request.path.removeprefix("/REST/2.0")
        kind, name, what = [*path.strip("/").split("/"), "", ""][:3]
        if path == "/rt":
            return Reply.of({"Version": "5.0.3", "Plugins": []})
        if path == "/ticket" and request.method == "POST":
            return self._create(*self._document(request))
        if path == "/tickets":
            found = re.fullmatch(r"RefersTo = '([^']*)'", request.query["query"])
            assert found
            rows = [{"type": "ticket", "id": number} for number, each in self.tickets.items()
                    if found[1] in each["sent"]["RefersTo"]]  # fmt: skip
            return collection(rows, request)
        if kind == "ticket" and what in ("comment", "correspond"):
            return self._message(name, what, *self._document(request))
        if kind == "ticket" and what == "attachments":
            return self._search(name, request)
        if kind == "ticket" and name in self.tickets:
            return self._set(name, request) if request.method == "PUT" else Reply.of(self._shown(name))
        if kind == "transaction":
            return Reply.of(self.transactions[int(name) - 1])
        if kind == "queue" and name == "General":
            listed = [{"id": str(at), "name": each} for at, each in enumerate(self.custom_fields, 1)]
            links = [{"ref": "self"}, *([{"ref": "create", "type": "ticket"}] if self.may_create else [])]
            return Reply.of({"id": 1, "Name": "General", "TicketCustomFields": listed, "_hyperlinks": links})
        if kind == "queue":
            return message("Forbidden", 403)
        if kind == "user" and name in self.users:
            return Reply.of({"Name": self.users[name], "EmailAddress": "bot@example.com", "Privileged": 1})
        return message("Not Found", 404)

    def _document(self, request: Request) -> tuple[dict[str, Any], list[str]]:
        if request.headers["content-type"] == "application/json":
            return request.json(), []
        parts = parts_of(request)
        (text,) = [content for name, _, content in parts if name == "JSON"]
        files = [(file, content) for name, file, content in parts if name == "Attachments"]
        assert all(file not in ("", "0") and content for file, content in files), "RT refuses these: 400"
        return json.loads(text), [file for file, _ in files]

    def _create(self, sent: dict[str, Any], files: list[str]) -> Reply:
        if sent.get("Queue") != "General" or not self.may_create:
            return message(f"No permission to create tickets in the queue '{sent.get('Queue')}'", 403)
        if sent.get("Status", "new") not in self.statuses:
            return message(f"Status '{sent['Status']}' isn't a valid status for tickets in this queue.", 400)
        number = str(len(self.tickets) + 1)
        self.tickets[number] = {"sent": sent, "Status": sent.get("Status", "new")}
        self._add(number, "Create", sent["Content"], files)
        return Reply.of({"type": "ticket", "id": number, "_url": f"http://rt/REST/2.0/ticket/{number}"}, 201)

    def _message(self, number: str, what: str, sent: dict[str, Any], files: list[str]) -> Reply:
        if number not in self.tickets:
            return message("Message could not be recorded", 400)
        if not sent.get("ContentType"):
            return message("ContentType is a required field for application/json", 400)
        self._add(number, what.capitalize(), sent["Content"], files)
        if what == "correspond":
            self._add(number, "EmailRecord", sent["Content"], [])
            if self.tickets[number]["Status"] == "resolved":
                self.tickets[number]["Status"] = "open"
        return Reply.of([f"{what} added"], 201)

    def _add(self, number: str, kind: str, text: str, files: list[str]) -> None:
        at = len(self.transactions) + 1
        self.transactions.append({"id": at, "Type": kind, "Object": {"type": "ticket", "id": number}})
        for name in ["", *files]:
            self.attachments.append(
                {"id": str(len(self.attachments) + 1), "ticket": number, "TransactionId": str(at), "kind": kind,
                 "name": name, "text": "" if name else text}
            )  # fmt: skip

    def _search(self, number: str, request: Request) -> Reply:
        wanted = {each["field"]: each["value"] for each in json.loads(request.query["query"])}
        rows = [
            {"type": "attachment", "id": each["id"], "TransactionId": each["TransactionId"]}
            for each in self.attachments
            if wanted["Content"] in each["text"] and (each["ticket"] == number or number not in self.tickets)
        ]
        return collection(rows, request)

    def _set(self, number: str, request: Request) -> Reply:
        status = request.json()["Status"]
        if status not in self.statuses:
            return Reply.of([f"Ticket {number}: Status '{status}' isn't a valid status for this ticket."])
        before, self.tickets[number]["Status"] = self.tickets[number]["Status"], status
        return Reply.of([f"Ticket {number}: Status changed from '{before}' to '{status}'"])

    def _shown(self, number: str) -> dict[str, Any]:
        return {"id": int(number), "Status": self.tickets[number]["Status"], "EffectiveId": {"id": number}}


class RtStandin(Standin):
    kind = "rt"

    def reset(self) -> None:
        self.well = self.well or FakeRt()
        super().reset()

    def options(self) -> dict[str, Any]:
        return {"url": self.receiver.url, "token": Secret(SECRET), "queue": "General"}

    def made(self) -> int:
        return len(self.well.tickets)

    def texts(self) -> list[str]:
        return [each["sent"]["Content"] for each in self.well.tickets.values()]

    def comments(self) -> list[str]:
        return [
            each["text"] for each in self.well.attachments
            if each["kind"] in ("Comment", "Correspond") and not each["name"]
        ]  # fmt: skip

    def attached(self) -> list[str]:
        return [each["name"] for each in self.well.attachments if each["name"]]

    def state(self) -> str:
        *_, ticket = self.well.tickets.values()
        return "closed" if ticket["Status"] in ("resolved", "rejected") else "open"
