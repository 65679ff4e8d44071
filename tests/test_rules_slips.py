# ruff: noqa: E501 - tables of faults read best with a fault in one line
"""A hundred and more slips of the pen: the whole sentence of each, with its place. More stand in test_rules_loading.py."""

from __future__ import annotations

import re

import pytest
from test_rules_loading import DESTINATIONS, FILES, REST, THEN, WHEN, problems_of

from postroom.problems import InvalidFiles
from postroom.rules import compile_rules

PLAIN = "rules:\n  - name: A\n    when: always\n"


def rule(when: str = "always", then: str = "[chat]", more: str = "") -> str:
    """A file of one rule; `when` begins at 3:11, `then` at 4:11, `more` at 5:5."""
    return f"rules:\n  - name: A\n    when: {when}\n    then: {then}\n" + (f"    {more}\n" if more else "")


# fmt: off
SLIPS: list[tuple[str, str | list[str]]] = [
    (rule(when='{size: big}'), "3:18: the test of size in rule 'A': 'big' is no size; write such as 500kB, 64MB or 1GB"),
    (rule(when='{size: {over: 1MB}}'), "3:19: unknown operator 'over' in the test of size in rule 'A'; did you mean 'above'?"),
    (rule(when='{size: {above: 1XB}}'), "3:26: above of size in rule 'A': '1XB' is no size; write such as 500kB, 64MB or 1GB"),
    (rule(when='{size: {above: 1MB, exists: true}}'), "3:18: size in rule 'A': exists stands alone"),
    (rule(when='{size: {}}'), "3:18: the test of size in rule 'A' is empty"),
    (rule(when='{size: {above: 5MB, below: 1MB}}'), "3:18: the test of size in rule 'A': nothing is above 5MB and is below 1MB"),
    (rule(when='{spam_score: high}'), "3:24: the test of spam_score in rule 'A': 'high' is no number"),
    (rule(when='{spam_score: {above: 5MB}}'), "3:32: above of spam_score in rule 'A': '5MB' is no number"),
    (rule(when='{spam_score: []}'), "3:24: the test of spam_score in rule 'A' is an empty list; name at least one value"),
    (rule(when='{attachment_count: 1.5}'), "3:30: the test of attachment_count in rule 'A': '1.5' is no whole number"),
    (rule(when='{attachment_count: {at_least: -1}}'), "3:41: at_least of attachment_count in rule 'A': '-1' is no whole number"),
    (rule(when='{attachment: report.pdf}'), "3:24: attachment in rule 'A' takes tests of name, type and size, such as {name: {ends_with: .pdf}}"),
    (rule(when='{attachment: {nmae: x}}'), "3:25: unknown key 'nmae' in attachment in rule 'A'; did you mean 'name'?"),
    (rule(when='{attachment: {name: {end_with: .pdf}}}'), "3:32: unknown operator 'end_with' in the test of attachment name in rule 'A'; did you mean 'ends_with'?"),
    (rule(when="{attachment: {name: '*.pdf'}}"), '3:31: the test of attachment name in rule \'A\': a plain value is compared as it stands; for * and ? write {glob: "*.pdf"}'),
    (rule(when='{attachment: {type: pdf}}'), "3:31: the test of attachment type in rule 'A': a type has two parts, such as application/pdf; or write {ends_with: /pdf}"),
    (rule(when='{attachment: {size: large}}'), "3:31: the test of attachment size in rule 'A': 'large' is no size; write such as 500kB, 64MB or 1GB"),
    (rule(when='{attachment: {name: {in: nolist}}}'), "3:36: in of attachment name in rule 'A': there is no list 'nolist'"),
    (rule(when='{attachment: {exists: true, name: x}}'), "3:24: attachment in rule 'A': exists stands alone; a test of a name asks for one already"),
    (rule(when='{attachment.name: x}'), "3:12: unknown field 'attachment.name' in rule 'A'; did you mean 'attachment'?"),
    (rule(when='{attachments: x}'), "3:12: unknown field 'attachments' in rule 'A'; did you mean 'attachment'?"),
    (rule(when='{ip: 192.0.2.300}'), "3:16: within of ip in rule 'A': '192.0.2.300' is no network; write such as 192.0.2.0/24"),
    (rule(when='{ip: {in: 192.0.2.0/24}}'), "3:17: unknown operator 'in' in the test of ip in rule 'A'; it takes within, exists"),
    (rule(when='{ip: {within: [10.0.0.0/8, nonsense]}}'), "3:38: within of ip in rule 'A': 'nonsense' is no network; write such as 192.0.2.0/24"),
    (rule(when='{ip: {}}'), "3:16: the test of ip in rule 'A' takes within: with networks, such as 192.0.2.0/24"),
    (rule(when='{received: monday}'), "3:22: received in rule 'A' takes a mapping, such as {weekday: [mon, tue], between: 09:00-17:00}"),
    (rule(when='{received: {weekdays: mon}}'), "3:23: unknown key 'weekdays' in received in rule 'A'; did you mean 'weekday'?"),
    (rule(when='{received: {weekday: [mon, funday]}}'), "3:38: weekday of received in rule 'A': 'funday' is no weekday; write such as mon, or mon-fri"),
    (rule(when='{received: {weekday: monkey}}'), "3:32: weekday of received in rule 'A': 'monkey' is no weekday; write such as mon, or mon-fri"),
    (rule(when='{received: {between: 9-17}}'), "3:32: between of received in rule 'A': '9-17' is no span of a day; write such as 09:00-17:00 or 22:00-06:00"),
    (rule(when='{received: {between: 25:00-26:00}}'), "3:32: between of received in rule 'A': '25:00-26:00' is no span of a day; write such as 09:00-17:00 or 22:00-06:00"),
    (rule(when='{received: {from: 2026-13-01}}'), "3:29: from of received in rule 'A': '2026-13-01' is no date; write such as 2026-12-24"),
    (rule(when='{received: {from: [2026-01-01, 2026-02-01]}}'), "3:29: from of received in rule 'A' takes one date; several stand in date"),
    (rule(when='{received: {from: 2026-12-31, until: 2026-12-01}}'), "3:22: received in rule 'A': it ends (2026-12-01) before it begins (2026-12-31)"),
    (rule(when='{received: {date: 2026-01-01, from: 2026-02-01}}'), "3:22: received in rule 'A': none of its dates lies between from and until"),
    (rule(when='{received: {date: 24.12.2026}}'), "3:29: date of received in rule 'A': '24.12.2026' is no date; write such as 2026-12-24"),
    (rule(when='{received: {timezone: Europe/Berln, weekday: mon}}'), "3:33: timezone of received in rule 'A': there is no time zone 'Europe/Berln'; write such as Europe/Berlin"),
    (rule(when='{received: {timezone: Europe/Berlin}}'), "3:22: received in rule 'A': timezone stands beside weekday, between, from, until or date"),
    (rule(when='{item: jirra}'), "3:18: item in rule 'A': no destination 'jirra' in config.yaml; did you mean 'jira'?"),
    (rule(when='{item: {exist: true}}'), "3:18: item in rule 'A' takes a destination, or {exists: true}"),
    (rule(when='{item: {exists: x}}'), "3:27: exists of item in rule 'A' must be true or false"),
    (rule(when='{auth.spff: pass}'), "3:12: unknown field 'auth.spff' in rule 'A'; did you mean 'auth.spf'?"),
    (rule(when='{auth.spf: passed}'), "3:22: the test of auth.spf in rule 'A': there is no result 'passed'; did you mean 'pass'?"),
    (rule(when='{ingres: socketlabs}'), "3:12: unknown field 'ingres' in rule 'A'; did you mean 'ingress'?"),
    (rule(when='{kind: unknown}'), "3:18: the test of kind in rule 'A': there is no kind of mail 'unknown'; there are new, reply, auto_reply, bounce, list, automated, loop"),
    (rule(when='{kind: [reply, bonce]}'), "3:26: the test of kind in rule 'A': there is no kind of mail 'bonce'; did you mean 'bounce'?"),
    (rule(when="{to.domain: {ends_with: '@example.com'}}"), "3:35: ends_with of to.domain in rule 'A': a domain has no @; write example.com"),
    (rule(when="{from.user: {contains: '+'}}"), "3:34: contains of from.user in rule 'A': user is what stands before + and @; what stands behind + is detail"),
    (rule(when='{recipient.user: {starts_with: sup+}}'), "3:42: starts_with of recipient.user in rule 'A': user is what stands before + and @; write sup"),
    (rule(when='{recipient.detail: +garden}'), "3:30: the test of recipient.detail in rule 'A': detail is what stands between + and @; write garden"),
    (rule(when='{from: Ada <ada@example.com>}'), "3:18: the test of from in rule 'A': 'Ada <ada@example.com>' is no bare address; write ada@example.com"),
    (rule(when="{from: 'ada@example.com, bob@example.com'}"), "3:18: the test of from in rule 'A': 'ada@example.com, bob@example.com' is no bare address; several stand in a list: [a@example.com, b@example.com]"),
    (rule(when='{from: mailto:ada@example.com}'), "3:18: the test of from in rule 'A': 'mailto:ada@example.com' is no bare address; write ada@example.com"),
    (rule(when='{from: Ada Lovelace}'), "3:18: the test of from in rule 'A': 'Ada Lovelace' is no bare address; for the display name write from.name: Ada Lovelace"),
    (rule(when='{return_path: <>}'), "3:25: the test of return_path in rule 'A': '<>' is no bare address; write ''"),
    (rule(when='{from.domain: https://example.com/x}'), "3:25: the test of from.domain in rule 'A': 'https://example.com/x' is no domain; write example.com"),
    (rule(when="{base_subject: 'Re: hi'}"), "3:26: the test of base_subject in rule 'A': base_subject has no Re: and the like; write hi"),
    (rule(when='{recipient: {in: [a@b.example]}}'), "3:29: in of recipient in rule 'A': there is no list 'a@b.example'"),
    (rule(when='{subject: {above: 3}}'), "3:22: unknown operator 'above' in the test of subject in rule 'A'; it takes is, contains, word, starts_with, ends_with, glob, matches, in, exists"),
    (rule(when="{subject: {matches: [ok, '(']}}"), "3:36: matches of subject in rule 'A': RE2 cannot take the pattern: missing ): ("),
    (rule(when="{subject: {contains: [a, '']}}"), "3:36: contains of subject in rule 'A' is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)"),
    (rule(when='{subject: {exists: [true]}}'), "3:30: exists of subject in rule 'A' must be true or false"),
    (rule(when='{subject: "\\u0000x"}'), "3:21: the test of subject in rule 'A' holds a NUL character; in double quotes a backslash is an escape of YAML's; use single quotes"),
    (rule(when='{subject: ~}'), "3:21: the test of subject in rule 'A' is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)"),
    (rule(when='{sender: x@y.example}'), "3:12: unknown field 'sender' in rule 'A'; did you mean 'from'?"),
    (rule(when='{Subject: x}'), "3:12: unknown field 'Subject' in rule 'A'; did you mean 'subject'?"),
    (rule(when='{header: {X-A: {contain: x}}}'), "3:27: unknown operator 'contain' in the test of header X-A in rule 'A'; did you mean 'contains'?"),
    (rule(when='{not: always}'), "3:17: not: takes one condition of one entry, such as not: {subject: Hello}, or the name of one in conditions: (in rule 'A')"),
    (rule(when='{not: [subject: x]}'), "3:17: not: takes one condition of one entry, such as not: {subject: Hello} (in rule 'A'); for several write not: {any: [..]} or not: {all: [..]}"),
    (rule(when='{any: [unmatched, nonsense]}'), "3:29: 'nonsense' is no condition in rule 'A'; write a mapping such as {subject: Hello}, unmatched, or the name of one in conditions:"),
    (rule(when='{any: [{subject: x}, always]}'), "3:32: 'always' is no condition in rule 'A'; write a mapping such as {subject: Hello}, unmatched, or the name of one in conditions:"),
    (rule(when='{all: [{}]}'), "3:18: a condition in rule 'A' is empty; for every mail write when: always"),
    (rule(when='{all: [{subject: x}], all: [{text: y}]}'), "3:33: the key 'all' stands twice here (first in line 3)"),
    (rule(when='unmatchd'), "3:11: there is no condition 'unmatchd' (in rule 'A'); did you mean 'unmatched'?"),
    (rule(when='office'), "3:11: 'office' is no condition in rule 'A'; write a mapping such as {subject: Hello}, always, unmatched, or the name of one in conditions:"),
    (rule(when='"Re: hi"'), "3:11: 'Re: hi' is no condition in rule 'A'; write a mapping such as {subject: Hello}, always, unmatched, or the name of one in conditions:"),
    (rule(then='[update: {bdy: x}]'), "4:21: unknown field 'bdy' in update; did you mean 'body'?"),
    (rule(then='[update: {state: done}]'), '4:28: update: state must be open or closed'),
    (rule(then='[update: {state: close}]'), "4:28: update: state must be open or closed; did you mean 'closed'?"),
    (rule(then='[update: {destination: jirra}]'), "4:34: update: destination: no destination 'jirra' in config.yaml; did you mean 'jira'?"),
    (rule(then='[update: {title: x}]'), "4:21: unknown field 'title' in update; did you mean 'state'?"),
    (rule(then='[update: closed]'), "4:20: update in rule 'A' takes a mapping of fields, such as update: {body: ..}"),
    (rule(then='[updat]'), "4:12: no destination 'updat' in config.yaml; did you mean 'update'?"),
    (rule(then='[hold: {reson: x}]'), "4:19: unknown field 'reson' in hold; did you mean 'reason'?"),
    (rule(then='[hold: {reason: }]'), '4:27: hold: reason is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)'),
    (rule(then='[hold: {reason: no rule: none}]'), '4:34: YAML: did not find expected \',\' or \'}\'; a text with ": " in it must stand in quotes'),
    (rule(then='[hold: no rule]'), "4:18: hold in rule 'A' takes a mapping of fields, such as hold: {reason: ..}"),
    (rule(then='[drop: {reason: [a]}]'), '4:27: drop: reason must be a text, not a list'),
    (rule(then='[drop: {reason: "{{ subject | uper }}"}]'), "4:27: drop: reason: unknown filter 'uper'; did you mean 'upper'?"),
    (rule(then='[drop: {state: closed}]'), "4:19: unknown field 'state' in drop; it takes reason"),
    (rule(then='[{reuse: false, update: {}}]'), "4:13: reuse in rule 'A' stands beside a destination, not beside update"),
    (rule(then='[{per_recipient: true, hold: {}}]'), "4:13: per_recipient in rule 'A' stands beside a destination, not beside hold"),
    (rule(then='[{chat: {}, reuse: nope}]'), "4:30: reuse of chat in rule 'A' must be true or false"),
    (rule(then='[{chat: {}, reus: false}]'), "4:23: unknown key 'reus' beside an action in rule 'A'; did you mean 'reuse'?"),
    (rule(then='[chat: {reuse: false}]'), '4:19: chat: reuse stands beside chat, not in it: {chat: {..}, reuse: false}'),
    (rule(then='[chat: {attachments: [a.pdf]}]'), '4:32: chat: attachments must be all, none, or tests such as {name: {ends_with: .pdf}}'),
    (rule(then='[chat: {attachments: {nam: x}}]'), "4:33: unknown key 'nam' in chat: attachments; did you mean 'name'?"),
    (rule(then='[chat: {attachments: {size: {below: big}}}]'), "4:47: below of attachment size in rule 'A': 'big' is no size; write such as 500kB, 64MB or 1GB"),
    (rule(then='[chat: {body: [a]}]'), '4:25: chat: body must be one value, not a list'),
    (rule(then='[chat: {footer: }]'), '4:27: chat: footer is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)'),
    (rule(then='[chat: {title: "{{ subject | replace(\'a\') }}"}]'), "4:26: chat: title: the filter 'replace': missing a required argument: 'new'"),
    (rule(then='[chat: {title: "{{ subject.upper }}"}]'), "4:26: chat: title: 'upper' is to be called: write upper()"),
    (rule(then='[chat: {title: "{{ headers.X }}"}]'), "4:26: chat: title: a header stands in brackets: write headers['X']"),
    (rule(then='[chat: {title: "{{ header[\'X\'] }}"}]'), "4:26: chat: title: unknown name 'header'; did you mean 'headers'?"),
    (rule(then='[chat: {title: "{{ attachments.name }}"}]'), "4:26: chat: title: a list has no 'name', each of its members has: write map(attribute='name') | join(', ')"),
    (rule(then='[chat: {title: "{{ attachments[0].filename }}"}]'), "4:26: chat: title: an attachment has no 'filename'; did you mean 'name'?"),
    (rule(then='[chat: {title: "{{ received_at.hours }}"}]'), "4:26: chat: title: a time has no 'hours'; did you mean 'hour'?"),
    (rule(then='[chat: {title: "{{ from.domain() }}"}]'), "4:26: chat: title: 'domain' of address is a value: write it without ()"),
    (rule(then='[chat: {title: "{% include \'x\' %}"}]'), '4:26: chat: title: {% include %} is not available: a template takes {{ }}, {% if %}, {% for %} and {% set %}'),
    (rule(then='[chat: {title: "{% if subject is email %}x{% endif %}"}]'), "4:26: chat: title: unknown test 'is email'"),
    (rule(then='[chat: {title: "{{ sender }}"}]'), "4:26: chat: title: unknown name 'sender'; did you mean 'from'?"),
    (rule(then='[chat: {title: "{{ subject }"}]'), "4:26: chat: title: this is no template: unexpected '}'"),
    (rule(then='[jira: {project: X, labls+: [a]}]'), "4:31: jira: 'labls' is not a field of jira; it takes title, body, footer, attachments, project, type, labels, priority, points, watch, fields; did you mean 'labels'?"),
    (rule(then='[jira: {project: X, project: Y}]'), "4:31: the key 'project' stands twice here (first in line 4)"),
    (rule(then='[jira: {project: X, points: 1.5}]'), "4:39: jira: points: '1.5' is no whole number"),
    (rule(then='[Jira: {project: X}]'), "4:12: no destination 'Jira' in config.yaml; did you mean 'jira'?"),
    (rule(then='[jira: {project: X}, jira]'), "4:32: jira: the field 'project' is missing (key of the project)"),
    (rule(then='[[chat]]'), "4:12: an action in rule 'A' must be the name of a destination, or its name with fields, such as - jira: {title: ..}"),
    (rule(then='[chat: []]'), "4:18: chat in rule 'A' takes a mapping of fields, such as chat: {title: ..}"),
    (rule(then="['']"), "4:12: an action in rule 'A' is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)"),
    (rule(then='[chat: {}}'), "4:20: YAML: did not find expected ',' or ']'; look for a missing quote, comma or bracket, or a line indented differently from its neighbours"),
    (rule(more='mode: log'), "5:11: mode of rule 'A' must be live, log_only or disabled; or a share of the conversations, such as 10%"),
    (rule(more='mode: live_only'), "5:11: mode of rule 'A' must be live, log_only or disabled; did you mean 'log_only'?"),
    (rule(more='mode: 110%'), "5:11: mode of rule 'A' must be live, log_only or disabled; or a share of the conversations, such as 10%"),
    (rule(more='mode: [live]'), "5:11: mode of rule 'A' must be a text, not a list"),
    (rule(more='mode:'), "5:10: mode of rule 'A' is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)"),
    (rule(more='correlate: "{{ subject }}"'), '5:16: correlate of rule \'A\' takes a mapping such as {by: "{{ alert.host }}", window: 3d}'),
    (rule(more='correlate: {by: "{{ subject }}"}'), '5:16: correlate of rule \'A\': \'window\' is missing, as in {by: "{{ alert.host }}", window: 3d}'),
    (rule(more='correlate: {by: "{{ subject }}", windw: 3d}'), ['5:16: correlate of rule \'A\': \'window\' is missing, as in {by: "{{ alert.host }}", window: 3d}', "5:38: unknown key 'windw' in correlate of rule 'A'; did you mean 'window'?"]),
    (rule(more='correlate: {by: "{{ subject }}", window: 3 days}'), "5:46: window of correlate of rule 'A': '3 days' is no duration; write such as 500ms, 15s, 5m, 2h or 35d"),
    (rule(more='correlate: {by: "{{ subject }}", window: 0s}'), "5:46: window of correlate of rule 'A' must be longer than nothing"),
    (rule(more='correlate: {by: "{{ subject }}", window: 3d, grp: x}'), "5:50: unknown key 'grp' in correlate of rule 'A'; did you mean 'group'?"),
    (rule(more='correlate: {by: "{{ subject }}", window: 3d, group: "{{ subject }}"}'), "5:57: group of correlate of rule 'A' is a name, not a template; what differs stands in by"),
    (rule(more='correlate: {by: "{{ message_url }}", window: 3d}'), "5:21: by of correlate of rule 'A': 'message_url' is not known before the mail is stored"),
    (rule(more='correlate: {by: {{ subject }}, window: 3d}'), '5:22: a template must stand in quotes: "{{ ... }}"'),
    (rule(more='correlate: {by: subject, window: 3d}'), '5:21: by of correlate of rule \'A\': \'subject\' is here the same text for all mails; for its value write "{{ subject }}"'),
    (rule(more='correlate: {by: "{{ to }}", window: 3d}'), "5:21: by of correlate of rule 'A' must be a text, and 'to' is a list; write such as to[0]"),
    (rule(more='correlate: {by: [a, b], window: 3d}'), "5:21: by of correlate of rule 'A' must be a text, not a list"),
    (rule(more='limit: 5'), '5:12: limit of rule \'A\' takes a mapping such as {per: "{{ from }}", count: 5, window: 1h, over: suppress}'),
    (rule(more='limit: {per: "{{ from }}", count: 0, window: 1h}'), "5:39: count of limit of rule 'A' must be a whole number from 1"),
    (rule(more='limit: {per: "{{ from }}", count: 5/h, window: 1h}'), "5:39: count of limit of rule 'A' must be a whole number from 1"),
    (rule(more='limit: {per: "{{ from }}", count: 5, window: hour}'), "5:50: window of limit of rule 'A': 'hour' is no duration; write such as 500ms, 15s, 5m, 2h or 35d"),
    (rule(more='limit: {per: "{{ from }}", count: 5, window: 1h, over: delete}'), "5:60: over of limit of rule 'A' must be one of suppress, hold, drop"),
    (rule(more='limit: {per: "{{ from }}", count: 5, window: 1h, over: supress}'), "5:60: over of limit of rule 'A' must be one of suppress, hold, drop; did you mean 'suppress'?"),
    (rule(more='limit: {per: "{{ frm }}", count: 5, window: 1h}'), "5:18: per of limit of rule 'A': unknown name 'frm'; did you mean 'from'?"),
    (rule(more='limit: {per: from, count: 5, window: 1h}'), '5:18: per of limit of rule \'A\': \'from\' is here the same text for all mails; for its value write "{{ from }}"'),
    (rule(more='defaults: [a]'), "5:15: defaults of rule 'A' takes a mapping of destinations to fields, such as jira: {project: SUP}"),
    (rule(more='defaults: {jirra: {project: X}}'), "5:16: defaults of rule 'A': 'jirra' is no destination of config.yaml, and no kind of one; did you mean 'jira'?"),
    (rule(more='defaults: {jira: project}'), "5:22: defaults of rule 'A': jira takes a mapping of fields, such as {project: SUP}"),
    (rule(more='defaults: {chat: {chanel: x}}'), "5:23: chat: 'chanel' is not a field of chat; it takes title, body, footer, attachments, channel; did you mean 'channel'?"),
    (rule(more='first_only: true'), "5:17: first_only of rule 'A' is about its children, and it has no rules"),
    (rule(more='first_only: yes please'), "5:17: first_only of rule 'A' must be true or false"),
    (rule(more='tags:'), "5:10: tags of rule 'A' is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)"),
    (rule(more='Stop: true'), "5:5: unknown key 'Stop' in rule 'A'; did you mean 'stop'?"),
    (rule(more='than: [chat]'), "5:5: unknown key 'than' in rule 'A'; did you mean 'then'?"),
    (rule(more='name: B'), "5:5: the key 'name' stands twice here (first in line 2)"),
    (rule(more='extract: {}'), "5:14: extract in rule 'A' takes values by name, such as extract: {version: {from: text, matches: 'version (\\d+)'}}"),
    (rule(more='extract: {v: {from: size, matches: x}}'), "5:25: extract 'v' in rule 'A': size is no text; it can be such as subject, text, from.domain, header.X-Host"),
    (rule(more='extract: {v: {from: w, matches: x}, w: {from: text, matches: x}}'), "5:25: extract 'v' in rule 'A': unknown field 'w'; it can be such as subject, text, from.domain, header.X-Host"),
    (rule(more='extract: {v: {from: header.X Y, matches: x}}'), "5:25: extract 'v' in rule 'A': 'X Y' is no name of a header"),
    (rule(more='extract: {v: {from: text, matches: "\\bOK"}}'), "5:40: matches of extract 'v' in rule 'A' holds a backspace character; in double quotes a backslash is an escape of YAML's; use single quotes"),
    (rule(more='extract: {v: {from: text, matches: x, case_sensitive: maybe}}'), "5:59: case_sensitive of extract 'v' in rule 'A' must be true or false"),
    (rule(more='extract: {v: {from: text, matches: x, default: "{{ subject }}"}}'), "5:52: default of extract 'v' in rule 'A' is taken as it stands: it cannot be a template"),
    (rule(more='extract: {v: {from: text, matches: x, default: [a]}}'), "5:52: default of extract 'v' in rule 'A' must be a text, not a list"),
    (rule(more="extract: {v: {from: text, matches: '(x', default: y}}"), "5:40: matches of extract 'v' in rule 'A': RE2 cannot take the pattern: missing ): (x"),
    (rule(more='extract: {v: {from: text, matches: x}, v: {from: text, matches: y}}'), "5:44: the key 'v' stands twice here (first in line 5)"),
    (rule(more='extract: {size: {from: text, matches: x}}'), "5:15: 'size' cannot name a value in rule 'A': it means something already; choose another name"),
    (rule(more='extract: {loop: {from: text, matches: x}}'), "5:15: 'loop' cannot name a value in rule 'A': it means something already; choose another name"),
    (rule(more="extract: {auth: {from: text, matches: '(?P<spf>x)'}}"), "5:15: 'auth' cannot name a value in rule 'A': it means something already; choose another name"),
    ('conditions: [a]\n', '1:13: conditions must be a mapping of names to conditions, such as staff: {from.domain: example.com}'),
    ('conditions: {office: }\n', "1:22: condition 'office' is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)"),
    ('conditions: {always: {subject: x}}\n', "1:14: no condition can be named 'always': the word has a meaning already"),
    ('conditions: {not: {subject: x}}\n', "1:14: no condition can be named 'not': the word has a meaning already"),
    ('conditions: {office: {subjct: x}}\n', "1:23: unknown field 'subjct' in condition 'office'; did you mean 'subject'?"),
    ('conditions: {a: b, b: a}\n', "1:23: the condition 'a' uses itself: a -> b -> a"),
    ('conditions: {a: {not: a}}\n', "1:23: the condition 'a' uses itself: a -> a"),
    ('conditions: {a: {subject: x}, a: {text: y}}\n', "1:31: the key 'a' stands twice here (first in line 1)"),
    ('conditions: {office: {subject: x}}\nrules: [{name: A, when: offce, stop: true}]\n', "2:25: there is no condition 'offce' (in rule 'A'); did you mean 'office'?"),
    ('conditions: {office: {subject: x}}\nrules: [{name: A, when: {not: offce}, stop: true}]\n', "2:31: there is no condition 'offce' (in rule 'A'); did you mean 'office'?"),
    ('conditions: {office: {subject: x}}\nrules: [{name: A, when: {office: true}, stop: true}]\n', "2:26: the condition 'office' stands alone, without a value, in rule 'A'; write when: office, not: office, or all: [office, ..]"),
    ('rules: [{name: A, when: {not: office}, stop: true}]\n', "1:31: not: takes one condition of one entry, such as not: {subject: Hello}, or the name of one in conditions: (in rule 'A')"),
    ('defaults: [a]\n', '1:11: defaults of a.yaml takes a mapping of destinations to fields, such as jira: {project: SUP}'),
    ('defaults: {jirra: {project: X}}\n', "1:12: defaults of a.yaml: 'jirra' is no destination of config.yaml, and no kind of one; did you mean 'jira'?"),
    ('defaults: {jira: {projct: X}}\nrules: [{name: A, when: always, then: [jira: {project: X}]}, {name: B, when: always, then: [jira: {project: X}]}]\n', "1:19: jira: 'projct' is not a field of jira; it takes title, body, footer, attachments, project, type, labels, priority, points, watch, fields; did you mean 'project'?"),
    ("defaults: {chat: {title: '{{ subjct }}'}}\nrules: [{name: A, when: always, then: [chat]}]\n", "1:26: chat: title: unknown name 'subjct'; did you mean 'subject'?"),
    ('lists: {a: }\n', "1:12: the list 'a' must be a list of texts, such as a: [ada@example.com], or a mapping, such as a: {billing: finance}"),
    ('lists: {a: {x: [y]}}\n', "1:16: an entry of the list 'a' must be a text, not a list"),
    ("lists: {a: [x, '']}\n", "1:16: an entry of the list 'a' is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)"),
    ('lists: {a: [x], a: [y]}\n', "1:17: the key 'a' stands twice here (first in line 1)"),
    ('lists: {a: {x: y, x: z}}\n', "1:19: the key 'x' stands twice here (first in line 1)"),
    ('lists:\n  a:\n    - *@example.com\n', '3:8: YAML: did not find expected alphabetic or numeric character; a text that begins with * must stand in quotes, such as "*@example.com"'),
    ('lists: {a: [x]}\nrules: [{name: A, when: always, extract: {v: {from: text, map: a}}, stop: true}]\n', "2:64: map of extract 'v' in rule 'A': the list 'a' is no mapping; write it as a: {billing: finance}"),
    ('lists: {a: {x: y}}\nrules: [{name: A, when: always, extract: {v: {from: text, map: b}}, stop: true}]\n', "2:64: map of extract 'v' in rule 'A': there is no list 'b'"),
    ("lists: {a: {x: y}}\nrules: [{name: A, when: always, extract: {v: {from: text, matches: '(?P<g>x)', map: a}}, stop: true}]\n", "2:85: map of extract 'v' in rule 'A' looks up one text; its pattern has named groups"),
    ('rule: []\n', "1:1: unknown key 'rule' in a rule file; did you mean 'rules'?"),
    ('rules: []\nrules: []\n', "2:1: the key 'rules' stands twice here (first in line 1)"),
    ('rules: [A]\n', '1:9: rules of a.yaml: a rule is a mapping that begins with - name:'),
    ('rules: [\n', '2:1: YAML: did not find expected node content; look for a missing quote, comma or bracket, or a line indented differently from its neighbours'),
    ('rules:\n  - name: A\n\twhen: always\n', '3:1: a tab is used to indent; YAML allows only spaces'),
    ('rules:\n  - name: A\n  when: always\n', "3:3: YAML: did not find expected '-' indicator; look for a missing quote, comma or bracket, or a line indented differently from its neighbours"),
    ('rules:\n  - name: A\n     when: always\n', '3:10: YAML: mapping values are not allowed in this context; a text with ": " in it must stand in quotes (or the line is indented wrongly)'),
    ('rules:\n  - name:A\n    when: always\n', '2:10: YAML: a blank must stand before this'),
    ('rules:\n  -name: A\n   when: always\n', '2:4: YAML: a blank must stand before this'),
    (PLAIN + '   stop: true\n', "4:4: YAML: did not find expected '-' indicator; look for a missing quote, comma or bracket, or a line indented differently from its neighbours"),
    (PLAIN + '    stop: true\n---\nrules: []\n', '5:1: YAML: a file holds one document; take the line --- out'),
    (PLAIN + '    then:\n      - chat:\n          title: {{ subject }}\n', '6:19: a template must stand in quotes: "{{ ... }}"'),
    (PLAIN + '    then:\n      - chat:\n          title: {{ subject }} x\n', '6:32: YAML: did not find expected key; a template must stand in quotes: "{{ ... }}"'),
    (PLAIN + '    then:\n      - chat:\n          title: {% if subject %}x{% endif %}\n', '6:19: YAML: found character that cannot start any token; a template must stand in quotes: "{{ ... }}"'),
    (PLAIN + '    then:\n      - chat:\n        title: x\n', "5:9: an action in rule 'A' must be the name of a destination, or its name with fields, such as - jira: {title: ..}; put a - before each destination, and indent its fields below it"),
    (PLAIN + '    then:\n      chat:\n        title: x\n', "5:7: then in rule 'A' takes a list of actions; write then: [chat: {..}]"),
    (PLAIN + '    then: [chat]\n    then: [jira]\n', "5:5: the key 'then' stands twice here (first in line 4)"),
    ('rules:\n  - name: #1 rule\n    when: always\n    stop: true\n', '2:10: the name of a rule is empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)'),
    ('rules:\n  - name: Re: hi\n    when: always\n    stop: true\n', '2:13: YAML: mapping values are not allowed in this context; a text with ": " in it must stand in quotes (or the line is indented wrongly)'),
    ('rules:\n  - name: [A]\n    when: always\n    stop: true\n', '2:11: the name of a rule must be a text, not a list'),
    ('rules:\n  - name: "A\\nB"\n    when: always\n    stop: true\n', '2:11: the name of a rule is one line of at most 200 characters'),
    ('rules:\n  - name: A\n    when: {subject: Re: hi}\n    stop: true\n', '3:23: YAML: did not find expected \',\' or \'}\'; a text with ": " in it must stand in quotes'),
    ('rules:\n  - name: A\n    when: {subject: x\n    stop: true\n', "3:11: YAML: this bracket is not closed, or a comma is missing behind it (did not find expected ',' or '}')"),
    ('rules:\n  - name: A\n    when: {subject: [a, b}\n    stop: true\n', "3:26: YAML: did not find expected ',' or ']'; look for a missing quote, comma or bracket, or a line indented differently from its neighbours"),
    ('rules:\n  - name: A\n    when:\n      subject: {contains: #12}\n    stop: true\n', '4:27: YAML: the rest of the line after # is a comment, its bracket too; a text with # must stand in quotes'),
    ('rules:\n  - name: A\n    when:\n      subject: "open\n    stop: true\n', '4:16: YAML: this quote is opened and never closed'),
    ('rules:\n  - name: A\n    when:\n      subject: @ops\n    stop: true\n', '4:16: YAML: found character that cannot start any token; a text that begins with this character must stand in quotes'),
    ('rules:\n  - name: A\n    when:\n      subject: !important\n    stop: true\n', '4:16: a text that begins with ! must stand in quotes (YAML takes !important away)'),
    ('rules:\n  - name: A\n    when:\n      subject: [urgent] now\n    stop: true\n', '4:25: YAML: did not find expected key; look for a missing quote, comma or bracket, or a line indented differently from its neighbours'),
    ('rules:\n  - name: A\n    when:\n      subject:contains\n    stop: true\n', "4:7: 'subject:contains' is no condition in rule 'A'; write a mapping such as {subject: Hello}, always, unmatched, or the name of one in conditions:"),
    ('rules:\n  - name: A\n    when: {subject: x}\n    stop: true\n  - name: A \n    when: always\n    stop: true\n', "5:11: the name 'A' is taken (by the rule in rules/a.yaml:2)"),
    ('rules:\n  - {name: P, when: always, first_only: true, rules: [{name: A, when: always, then: [chat]}, {name: B, when: {subject: x}, then: [chat]}]}\n', "2:101: rule 'B' is never reached: rule 'A' (a.yaml:2) before it matches every mail, and only the first counts (first_only)"),
    ('rules:\n  - {name: P, when: always, rules: [{name: A, when: always, stop: true}]}\n  - {name: C, when: always, then: [chat]}\n', "3:12: rule 'C' is never reached: rule 'P' (a.yaml:2) before it stops every mail"),
    ('rules:\n  - {name: P, when: {subject: x}, extract: {v: {from: text, matches: x}}, then: [chat], rules: [{name: B, when: {vv: x}, then: [chat]}]}\n', "2:114: unknown field 'vv' in rule 'B'; did you mean 'v'?"),
    ('rules:\n  - {name: P, when: {v: x}, extract: {v: {from: text, matches: x}}, then: [chat]}\n', "2:22: 'v' in rule 'P' is extracted after the rule's own when; test it in a rule below it (rules:)"),
    ("rules:\n  - {name: P, when: {subject: x}, extract: {v: {from: text, matches: '(?P<a>x)'}}, then: [chat: {title: '{{ v.b }}'}]}\n", "2:105: chat: title: a value with parts has no 'b'; it has a"),
    ("rules:\n  - {name: P, when: {subject: x}, extract: {v: {from: text, matches: '(?P<a>x)'}}, limit: {per: '{{ v }}', count: 1, window: 1d}, then: [chat]}\n", "2:97: per of limit of rule 'P' must be a text, and 'v' has parts; write one of v.a"),
    ("rules:\n  - {name: P, when: always, limit: {per: '{{ from }}', count: 1, window: 1d}}\n", "2:5: rule 'P' does nothing: give it then, rules or stop"),
]
# fmt: on


@pytest.mark.parametrize(("text", "expected"), SLIPS)
def test_a_slip_has_its_sentence_and_its_place(text: str, expected: str | list[str]) -> None:
    wanted = [expected] if isinstance(expected, str) else expected
    assert problems_of(text) == [f"rules/a.yaml:{each}" for each in wanted]


@pytest.mark.parametrize(("text", "expected"), SLIPS)
def test_the_place_is_where_the_word_stands(text: str, expected: str | list[str]) -> None:
    """Independent of the table: the word that a sentence is about stands in the file at the place that is told."""
    about = re.compile(
        r"(?:unknown (?:key|field|operator) |there is no (?:list|condition|kind of mail|result|time zone) "
        r"|the key |no destination |no condition can be named |the condition |^)'([^']+)'"
    )
    for each in [expected] if isinstance(expected, str) else expected:
        line, column, sentence = each.split(":", 2)
        found = about.search(sentence.strip())
        if found is None or "{{" in text or "is no mapping" in sentence:
            continue
        rest = text.splitlines()[int(line) - 1][int(column) - 1 :]
        assert rest.lstrip("\"'").startswith(found[1]), (rest, sentence)


def test_the_slips_are_many_and_none_is_there_twice() -> None:
    texts = [text for text, _ in SLIPS]
    assert len(set(texts)) == len(texts) >= 200
    others = {*map(rule, WHEN), *(rule(then=then) for then in THEN), *(rule(more=more) for more in REST), *FILES}
    assert set(texts).isdisjoint(others)


SEVERAL = """lists:
  vip: [ada@example.com]
conditions:
  office: {received: {weekday: mon-fry}}
defaults:
  jirra: {project: APP}
rules:
  - name: One
    when: {all: [offce, {attachment: {typ: image/png}}], from: {in: vips}}
    extract:
      alert: {from: subject, matches: '^(?P<state>\\w+)$', map: vip}
      size: {from: txt, matches: '(?!x)'}
    correlate: {by: "{{ alert.host }}", window: soon}
    limit: {per: "{{ from }}", count: none, window: 1h, ovr: hold}
    mode: 150%
    then:
      - jira: {projct: APP, labels+: [x], title: "{{ alert.stat }}"}
      - update: {state: done}
      - {chat: {}, reuse: perhaps}
    stop: maybe
"""


def test_all_slips_of_a_file_are_told_at_once_in_the_order_of_their_places() -> None:
    assert [problem.removeprefix("rules/a.yaml:") for problem in problems_of(SEVERAL)] == [
        "4:32: weekday of received in condition 'office': 'mon-fry' is no weekday; write such as mon, or mon-fri",
        "6:3: defaults of a.yaml: 'jirra' is no destination of config.yaml, and no kind of one; did you mean 'jira'?",
        "9:18: there is no condition 'offce' (in rule 'One'); did you mean 'office'?",
        "9:39: unknown key 'typ' in attachment in rule 'One'; did you mean 'type'?",
        "9:69: in of from in rule 'One': there is no list 'vips'; did you mean 'vip'?",
        "11:64: map of extract 'alert' in rule 'One' looks up one text; its pattern has named groups",
        "12:7: 'size' cannot name a value in rule 'One': it means something already; choose another name",
        "12:20: extract 'size' in rule 'One': unknown field 'txt'; did you mean 'text'?",
        "12:34: matches of extract 'size' in rule 'One': RE2 has no look-ahead and no look-behind; say it with two tests, or with not:",
        "13:21: by of correlate of rule 'One': a text has no 'host'",
        "13:49: window of correlate of rule 'One': 'soon' is no duration; write such as 500ms, 15s, 5m, 2h or 35d",
        "14:57: unknown key 'ovr' in limit of rule 'One'; did you mean 'over'?",
        "15:11: mode of rule 'One' must be live, log_only or disabled; or a share of the conversations, such as 10%",
        "17:9: jira: the field 'project' is missing (key of the project)",
        "17:16: jira: 'projct' is not a field of jira; it takes title, body, footer, attachments, project, type, labels, priority, points, watch, fields; did you mean 'project'?",
        "17:50: jira: title: a text has no 'stat'",
        "18:25: update: state must be open or closed",
        "19:27: reuse of chat in rule 'One' must be true or false",
        "20:11: stop of rule 'One' must be true or false",
    ]


def test_slips_of_two_files_are_told_together() -> None:
    first = (
        "lists: {vip: [a@b.example]}\nconditions: {office: {subjct: x}}\nrules: [{name: A, when: ofice, stop: true}]\n"
    )
    second = "lists: {vip: [c@d.example]}\nconditions: {office: {subject: x}}\nrules: [{name: A, when: always, then: [chta]}]\n"
    assert problems_of(first, b=second, c="rules:\n\t- x\n") == [
        "rules/a.yaml:2:23: unknown field 'subjct' in condition 'office'; did you mean 'subject'?",
        "rules/a.yaml:3:25: there is no condition 'ofice' (in rule 'A'); did you mean 'office'?",
        "rules/b.yaml:1:9: the list 'vip' stands twice (first in rules/a.yaml:1)",
        "rules/b.yaml:2:14: the condition 'office' stands twice (first in rules/a.yaml:2)",
        "rules/b.yaml:3:16: the name 'A' is taken (by the rule in rules/a.yaml:3)",
        "rules/b.yaml:3:40: no destination 'chta' in config.yaml; did you mean 'chat'?",
        "rules/c.yaml:2:1: a tab is used to indent; YAML allows only spaces",
    ]


FINE = [
    rule("{size: {above: 1MB, below: 5MB}, attachment_count: {at_least: 1}, spam_score: {below: -2.5}}"),
    rule("{size: {above: [1MB, 10MB], at_most: 1MB, is: 1MB}}".replace("above", "at_least")),
    rule("{spam_score: {above: 5, is: 7}}"),
    rule("{received: {weekday: [Monday, tues, wed-fri], date: [2026-12-24, 2027-01-01], until: 2026-12-31}}"),
    rule("{auth.dmarc: [fail, none], kind: Reply, base_subject: {contains: 're:'}, return_path: ''}"),
    rule(
        "{from: MAILER-DAEMON, to: '\"a, b\"@example.com', attachment: {name: {glob: '*.pdf'}, type: {starts_with: image/}}}"
    ),
    rule(then='[{chat: {title: "{{ subject.upper() }}"}, reuse: no, per_recipient: yes}]'),
    rule(
        then="[chat: {title: \"{{ to | map(attribute='name') | sort | join(', ') | truncate(20) | replace('a', 'b') | default }}\"}]"
    ),
    rule(more="correlate: {by: all of them, window: 1d}"),
    rule(more="correlate: {by: \"{{ to[0] }} {{ to | join(' ') }}\", window: 1d}"),
    "rules:\n  - {name: A, when: {subject: 'x #12'}, then: [chat]} # a comment ] }\n",
    "rules:\n  - {name: 'it''s', when: always, then: [chat], # a comment, }\n     stop: true}\n",
    "conditions: {office: {subject: x}, quiet: {not: office}}\nrules: [{name: A, when: {all: [quiet, unmatched]}, then: [chat]}]\n",
]


@pytest.mark.parametrize("text", FINE)
def test_what_only_looks_like_a_slip_loads(text: str) -> None:
    assert compile_rules({"a.yaml": text}, DESTINATIONS).rules


def test_a_way_in_that_there_is_not() -> None:
    def told(condition: str, *ways: str) -> list[str]:
        try:
            compile_rules({"a.yaml": rule(when=condition)}, DESTINATIONS, ingresses=ways)
        except InvalidFiles as invalid:
            return [problem.message for problem in invalid.problems]
        return []

    ways = ("mailgun", "raw")
    assert told("{ingress: [mailgn, raw]}", *ways) == [
        "the test of ingress in rule 'A': config.yaml has no ingress 'mailgn'; did you mean 'mailgun'?"
    ]
    assert told("{not: {ingress: {is: jira}}}", *ways) == [
        "the test of ingress in rule 'A': config.yaml has no ingress 'jira'; there are mailgun, raw"
    ]
    assert told("{ingress: MailGun}", *ways) == told("{ingress: {starts_with: mail}}", *ways) == []
    assert told("{ingress: anything}") == [], "where nothing is known of the ways in"
