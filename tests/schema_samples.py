"""Files that the loaders take, and files with a slip in them that they refuse: the JSON Schemas must say the same.

The destinations are `jira` of a kind with a field of each sort, and `chat` and `archive` of kind `file`.
"""

from __future__ import annotations

EXAMPLE = r"""
lists:
  vip: [ada@example.com, "*@bigcustomer.example"]
  teams: {billing: finance, bug: bug}
conditions:
  office_hours: {received: {weekday: [mon, tue, wed, thu, fri], between: 09:00-17:00}}
defaults:
  jira: {project: SUP, labels: [email], footer: "{{ message_url }}"}
rules:
  - name: Conversations go on
    when: {kind: [reply, bounce], item: {exists: true}}
    then: [update]
    stop: true
  - name: Crash reports
    when:
      recipient: bugs@example.com
      subject: {contains: [crash, traceback]}
      not: {from.domain: example.com}
    extract:
      version: {from: text, matches: 'version (\d+\.\d+)', default: unknown}
    then:
      - jira: {project: APP, title: "{{ subject }}", body: "{{ reply_markdown }}", labels+: ["v{{ version }}"]}
      - chat: {body: "New crash report: {{ subject }}"}
    stop: true
  - name: Alerts
    when: {recipient.user: alerts}
    extract:
      alert:
        from: subject
        matches:
          - '^(?P<state>\w+): (?P<host>\S+)/(?P<service>.+)$'
          - '^\[(?P<host>\S+)\] (?P<service>.+) is (?P<state>\w+)$'
    correlate: {by: "{{ alert.host }}/{{ alert.service }}", window: 3d}
    limit: {per: "{{ alert.host }}", count: 20, window: 1h, over: hold}
    first_only: true
    rules:
      - {name: Flapping, when: {alert.state: FLAPPING}, then: [drop]}
      - {name: Recovered, when: {alert.state: [OK, RECOVERY]}, then: [update: {state: closed}]}
      - {name: Problem, when: always, then: [jira: {project: OPS, title: "{{ subject }}"}]}
  - name: Nobody wanted it
    when: unmatched
    then: [hold: {reason: no rule for this mail}]
"""
TESTS = """
tests:
  - name: a crash goes to Jira, once
    message: {recipient: bugs@example.com, from: jo@example.org, subject: "Crash in version 2.1", text: "version 2.1"}
    expect:
      - {rule: Crash reports, jira: {labels: [email, v2.1]}}
      - {rule: Crash reports, chat: {}}
  - name: the recovery closes it
    earlier: [{recipient: alerts@example.com, subject: "DOWN: web1/http"}]
    message: {recipient: alerts@example.com, subject: "OK: web1/http", received_at: 2026-11-22T10:00:00Z}
    expect: [{rule: Recovered, update: {state: closed}}]
  - name: the real one
    message: samples/crash.json
    expect: [{rule: Crash reports}]
"""


def rule(condition: str) -> str:
    return f"rules: [{{name: A, when: {condition}, stop: true}}]"


def action(text: str) -> str:
    return f"rules: [{{name: A, when: always, then: [{text}]}}]"


def keys(text: str) -> str:
    return f"rules: [{{name: A, when: always, stop: true, {text}}}]"


GOOD = [
    *map(
        rule,
        (
            "always",
            "unmatched",
            "{subject: Hello}",
            "{subject: ''}",
            "{subject: [Hello, 7, true, 1.10]}",
            "{subject: 0123}",
            "{subject: no}",
            "{subject: {contains: [a, 2], matches: '^x', case_sensitive: yes}}",
            "{subject: {exists: off}}",
            "{from: {exists: 'True'}}",
            "{kind: [reply, bounce]}",
            "{kind: {is: new}}",
            "{header: {X-Priority: 1, List-Id: {exists: true}}}",
            "{all: [{subject: a}, unmatched]}",
            "{any: [{subject: a}, {not: {any: [{text: b}]}}]}",
            "{not: {recipient.user: bugs}}",
            "{size: {above: 1MB, at_most: 20000000}}",
            "{size: {exists: true}}",
            "{spam_score: {at_least: 5.5}}",
            "{attachment_count: [1, 2]}",
            "{attachment: {name: {ends_with: .pdf}, type: application/pdf, size: {below: 5MB}}}",
            "{attachment: {exists: false}}",
            "{ip: {within: [192.0.2.0/24, '2001:db8::/32']}}",
            "{item: {exists: true}}",
            "{item: jira}",
            "{auth.spf: pass}",
            "{ingress: socketlabs}",
            "{received: {weekday: mon-fri, between: '22:00-06:00', from: 2026-01-01, timezone: Europe/Berlin}}",
            "{received: {date: [2026-12-24, 2026-12-25]}}",
        ),
    ),
    *map(
        action,
        (
            "chat",
            "chat: {title: 7, body: true, attachments: none}",
            "chat: {attachments: {name: {glob: '*.pdf'}}}",
            "{chat: {}, reuse: false}",
            "{chat: {}, reuse: no, per_recipient: yes}",
            "jira: {project: APP, labels: one, urgent: on, level: high, copies: 3, extra: {a: 1}, data: [1, {b: c}]}",
            "jira: {project: APP, labels: [a, '{{ subject }}'], urgent: '{{ kind }}', copies: '{{ spam_score }}'}",
            "jira: {project: APP, labels: '{{ to }}', level: '{{ subject }}', extra: '{{ headers }}', copies: null}",
            "jira: {project: APP, labels+: [a]}",
            "hold",
            "hold: {reason: because}",
            "drop",
            "update",
            "update: {state: closed, body: '{{ reply_text }}', destination: jira}",
        ),
    ),
    *map(
        keys,
        (
            "tags: one",
            "tags: []",
            "mode: log_only",
            "mode: 10%",
            "description: ''",
            "limit: {per: '{{ from }}', count: 5, window: 1h}",
            "limit: {per: all, count: '5', window: 90 s, over: drop}",
            "correlate: {by: '{{ subject }}', window: 7d, group: g}",
            "defaults: {chat: {title: a}, file: {footer: b}}",
            "extract: {v: {from: header.X-Host, matches: ['a', 'b'], case_sensitive: true}}",
            "extract: {v: {from: subject, matches: '(a)'}, w: {from: v, matches: '.'}}",
            "extract: {v: {from: subject, matches: '(?P<x>a)', default: {x: b}}}",
            "extract: {v: {from: subject, matches: a}}, rules: [{name: B, when: {v: [a, b]}, stop: true}]",
        ),
    ),
    "",
    "rules:",
    "rules:\n- name: A\n  when: always\n  then:\n  - chat:\n",
    "lists: {a: [b, 7], c: {d: e}}",
    "lists: {c: {d: e}}\nrules: [{name: A, when: always, stop: true, extract: {v: {from: subject, map: c}}}]",
    "conditions: {staff: {from.domain: example.com}, all_of_us: {any: [staff]}, these: staff}\n"
    "rules: [{name: A, when: {not: staff}, stop: true}, {name: B, when: staff, stop: true}]",
    EXAMPLE,
]
SLIPS = [
    *map(
        rule,
        (
            "{subjct: Hello}",
            "{from.domian: example.com}",
            "{version: 1}",
            "{allways: yes}",
            "{}",
            "[{subject: a}]",
            "{subject: {contians: a}}",
            "{subject: {contains: ''}}",
            "{subject: {contains: []}}",
            "{subject: {exists: perhaps}}",
            "{subject: {}}",
            "{subject: {is: {a: b}}}",
            "{subject: {case_sensitive: true}}",
            "{subject: {above: 3}}",
            "{kind: repley}",
            "{kind: {is: [reply, bouncy]}}",
            "{header: X-Priority}",
            "{header: {}}",
            "{header: {'X Y': 1}}",
            "{all: {subject: a}}",
            "{any: []}",
            "{all: [always]}",
            "{not: unmatched}",
            "{not: {subject: a, text: b}}",
            "{not: [{subject: a}]}",
            "{not: {any: [{subjct: a}]}}",
            "{size: {contains: 1}}",
            "{size: {above: big}}",
            "{size: large}",
            "{attachment: invoice.pdf}",
            "{attachment: {nam: a}}",
            "{attachment: {size: {above: big}}}",
            "{ip: {contains: a}}",
            "{ip: {within: home}}",
            "{item: {exists: true, is: jira}}",
            "{received: {weekday: someday}}",
            "{received: {between: 9 to 5}}",
            "{received: {day: mon}}",
            "{received: {from: yesterday}}",
        ),
    ),
    *map(
        action,
        (
            "jirra",
            "jirra: {title: a}",
            "chat: {tittle: a}",
            "chat: {title: [a]}",
            "chat: [a]",
            "chat: {attachments: some}",
            "chat: {attachments: {nam: a}}",
            "{chat: {}, jira: {project: A}}",
            "{chat: {}, reuse: maybe}",
            "{reuse: false}",
            "{hold: {}, reuse: false}",
            "jira: {project: A, level: loud}",
            "jira: {project: A, urgent: perhaps}",
            "jira: {project: A, copies: many}",
            "jira: {project: A, extra: [a]}",
            "jira: {project: A, labels: [{a: b}]}",
            "hold: {reasn: a}",
            "update: {state: shut}",
            "update: {destination: jirra}",
        ),
    ),
    *map(
        keys,
        (
            "whn: {subject: a}",
            "mode: life",
            "mode: 10",
            "limit: {per: a, count: 0, window: 1h}",
            "limit: {per: a, count: 5, window: soon}",
            "limit: {per: a, count: 5}",
            "limit: {per: a, count: 5, window: 1h, over: forget}",
            "correlate: {by: a}",
            "correlate: {by: a, window: 1h, grup: b}",
            "defaults: {jirra: {title: a}}",
            "defaults: [a]",
            "extract: {}",
            "extract: {v: {from: subject}}",
            "extract: {v: {matches: a}}",
            "extract: {v: {from: subject, matches: a, defualt: b}}",
            "extract: {v: {from: from.domian, matches: a}}",
            "extract: {'9': {from: subject, matches: a}}",
            "rules: [{name: B, when: {v: a}, stop: true}]",
            "extract: {v: {from: subject, matches: a}}, rules: [{name: B, when: {from.domian: a}, stop: true}]",
            "rules: {name: B, when: always, stop: true}",
        ),
    ),
    "rulez: []",
    "[]",
    "rules: {name: A}",
    "rules: [{when: always, stop: true}]",
    "rules: [{name: A, stop: true}]",
    "rules: [{name: A, when: always}]",
    "rules: [{name: A, when: always, then: chat}]",
    "rules: [{name: A, when: always, then: []}]",
    "rules: [{name: A, when: always, stop: perhaps}]",
    "lists: [a]",
    "lists: {a: b}",
    "conditions: {always: {subject: a}}",
    "conditions: {a: {subjct: b}}",
    "defaults: {jirra: {title: a}}",
]
CONFIG_GOOD = [
    "",
    "server:",
    "server: {listen: '127.0.0.1:8025', trusted_proxies: '1'}",
    "plugins_dir: null",
    "destinations: {file: }",
    "destinations: {file: {path: a.jsonl, paused: yes}}",
    "destinations: {a: {kind: file}, b: {kind: webhook, url: https://example.com, secret: [a, b]}}",
    "destinations: {webhook: {kind: file}}",
    "destinations: {a: {kind: webhook, url: '${WEB_HOOK:-https://example.com}', timeout: 500ms, retry: 0s}}",
    "destinations: {a: {kind: redmine, url: https://example.com, api_key: abc, formatting: markdown}}",
    "ingress: {socketlabs: {servers: [{secret_key: a, validation_key: 7, server_id: 9999}]}}",
    "ingress: {in: {kind: socketlabs, servers: {secret_key: a, validation_key: b}, max_body: 1000000}}",
    "mail: {loop_brake: {per_conversation: null}}",
    "dashboard: {users: {ada: {password_hash: x, role: editor}}}",
]
CONFIG_SLIPS = [
    "servr: {}",
    "server: {listn: a}",
    "server: {public_url: example.com}",
    "server: {trusted_proxies: some}",
    "data_dir: [a]",
    "dispatch: {workers: many}",
    "destinations: [a]",
    "destinations: {a: {}}",
    "destinations: {a: {kind: fax}}",
    "destinations: {file: {pth: a.jsonl}}",
    "destinations: {webhook: }",
    "destinations: {webhook: {kind: file, url: https://example.com}}",
    "destinations: {a: {kind: file, url: https://example.com}}",
    "destinations: {a: {kind: webhook}}",
    "destinations: {a: {kind: webhook, url: https://example.com, method: GET}}",
    "destinations: {a: {kind: file, timeout: 15}}",
    "destinations: {a: {kind: file, rate: fast}}",
    "destinations: {a: {kind: file, paused: perhaps}}",
    "destinations: {'a b': {kind: file}}",
    "ingress: {socketlabs: {}}",
    "ingress: {socketlabs: {servers: []}}",
    "ingress: {socketlabs: {servers: [{secret_key: a}]}}",
    "ingress: {socketlabs: {servers: [{secret_key: {path: a}, validation_key: b}]}}",
    "limits: {in_flight: lots}",
    "dashboard: {users: {ada: {password_hash: x, role: boss}}}",
]
