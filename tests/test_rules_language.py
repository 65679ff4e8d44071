"""What rules plan: defaults, maps, modes, first_only, hold, drop, correlate, limit, attachments, failing templates.

What the store makes of a plan is tested in test_stateful_rules.py.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom.fields import FieldSet, Json, setting
from postroom.message import Address, Attachment, Message
from postroom.plan import Content, Correlation, Limit, Plan, Step, Verdict
from postroom.problems import InvalidFiles
from postroom.rulebook import RuleBook
from postroom.rules import RenderError, RuleSet, compile_rules
from postroom.rules.modes import Mode
from postroom.store.database import connect, migrate
from postroom.store.rulesets import publish


@dataclasses.dataclass(frozen=True)
class IssueFields:
    project: str | None = setting("project", default=None)
    labels: list[str] = setting("labels", default_factory=list)
    extra: dict[str, Json] = setting("more", default_factory=dict)


DESTINATIONS = {
    "tracker": FieldSet("issue", IssueFields),
    "other": FieldSet("issue", IssueFields),
    "issue": FieldSet("issue", IssueFields),
}


def mail(subject: str | None = "Hello", **given: Any) -> Message:
    fields: dict[str, Any] = {
        "id": "0198",
        "received_at": 1_795_000_000_000,
        "ingress": "test",
        "recipient": Address("support@example.com"),
        "return_path": Address("jo@example.org"),
        "from_": Address("jo@example.org", "Jo"),
        "subject": subject,
        "text": "It is me.",
        "message_id": "<1@example.org>",
    }
    return Message(**fields | given)


def compiled(text: str, **more: str) -> RuleSet:
    return compile_rules({"a.yaml": text} | {f"{name}.yaml": each for name, each in more.items()}, DESTINATIONS)


def planned(text: str, message: Message | None = None, **more: Any) -> Plan:
    """The plan, which explain must make as well."""
    rules = compiled(text)
    plan = rules.evaluate(message or mail(), **more)
    assert rules.explain(message or mail(), **more).plan == plan
    return plan


def contents(text: str, message: Message | None = None, **more: str) -> list[Content]:
    rules = compiled(text, **more)
    return [render(rules, step, message or mail()) for step in rules.evaluate(message or mail()).steps]


def render(rules: RuleSet, step: Step, message: Message, **more: Any) -> Content:
    return rules.render(step, message, message_url="url", fields=DESTINATIONS[step.destination or "tracker"], **more)


def problems_of(text: str, **more: str) -> list[str]:
    with pytest.raises(InvalidFiles) as caught:
        compiled(text, **more)
    return [str(problem).removeprefix("rules/") for problem in caught.value.problems]


# Defaults


def test_the_nearest_default_wins() -> None:
    text = """
defaults: {issue: {project: KIND, title: kind, footer: all}, tracker: {project: OWN}}
rules:
  - name: Outer
    when: always
    defaults: {issue: {title: outer}}
    then: [tracker, other, tracker: {project: ACTION, title: action}]
    rules:
      - {name: Inner, when: always, defaults: {tracker: {title: inner}}, then: [tracker, other]}
  - {name: After, when: always, then: [tracker, issue]}
"""
    found = [(each.fields["project"], each.title, each.footer) for each in contents(text)]
    assert found == [
        ("OWN", "outer", "all"),
        ("KIND", "outer", "all"),
        ("ACTION", "action", "all"),
        ("OWN", "inner", "all"),
        ("KIND", "outer", "all"),
        ("OWN", "kind", "all"),
        ("KIND", "kind", "all"),
    ]


def test_a_plus_adds_to_what_the_outer_level_gave() -> None:
    text = """
defaults: {issue: {labels: [email, "{{ from.domain }}"]}}
rules:
  - name: Outer
    when: always
    extract: {v: {from: subject, matches: '(\\w+)'}}
    defaults: {tracker: {labels+: outer}, other: {labels: [only]}}
    rules:
      - {name: A, when: always, then: [tracker: {labels+: ["v{{ v }}", "{{ kind }}"]}]}
      - {name: B, when: always, then: [other: {labels+: [more]}]}
      - {name: C, when: always, then: [tracker: {labels: [instead]}]}
      - {name: D, when: always, then: [tracker: {labels: }]}
  - {name: E, when: always, then: [tracker: {labels+: [first]}]}
  - {name: F, when: always, then: [tracker: {labels+: [second], labels: [first]}]}
"""
    given = [each.fields["labels"] for each in contents(text.replace("labels: }", "labels: []}"))]
    assert given == [
        ["email", "example.org", "outer", "vHello"],
        ["only", "more"],
        ["instead"],
        [],
        ["email", "example.org", "first"],
        ["first", "second"],
    ]


def test_a_plus_where_nothing_is_outside_and_on_mappings() -> None:
    text = """
defaults: {tracker: {extra: {a: 1, b: 1}}}
rules:
  - {name: A, when: always, then: [tracker: {labels+: one}]}
  - {name: B, when: always, then: [tracker: {extra+: {b: 2, c: "{{ subject }}"}}]}
"""
    a, b = contents(text)
    assert a.fields == {"labels": ["one"], "extra": {"a": "1", "b": "1"}}
    assert b.fields == {"extra": {"a": "1", "b": "2", "c": "Hello"}}


def test_defaults_of_all_files_are_one_level() -> None:
    """A destination's own are nearer than those of its kind, whichever file they stand in."""
    rules = "rules: [{name: A, when: always, then: [tracker]}]"
    own, kind = (
        "defaults: {tracker: {project: OWN, labels+: [own]}}",
        "defaults: {issue: {project: KIND, labels: [kind]}}",
    )
    for first, second in ((own, kind), (kind, own)):
        (content,) = contents(rules, b=first, c=second)
        assert content.fields == {"project": "OWN", "labels": ["kind", "own"]}


def test_the_common_fields_and_attachments_have_defaults() -> None:
    files = (Attachment("a.pdf", "application/pdf", 1, "0"), Attachment("b.png", "image/png", 1, "1"))
    text = """
defaults: {issue: {body: "by {{ rule }}", attachments: {type: image/png}}}
rules: [{name: A, when: always, then: [tracker, tracker: {attachments: all}]}]
"""
    first, second = contents(text, mail(attachments=files))
    assert (first.body, first.attachments, second.attachments) == ("by A", (1,), (0, 1))


DEFAULTS = {
    "{trackr: {project: A}}": "a.yaml:1:12: defaults of a.yaml: 'trackr' is no destination of config.yaml, and no "
    "kind of one; did you mean 'tracker'?",
    "{tracker: A}": "a.yaml:1:21: defaults of a.yaml: tracker takes a mapping of fields",
    "[tracker]": "a.yaml:1:11: defaults of a.yaml takes a mapping of destinations to fields",
    "{tracker: {projct: A}}": "a.yaml:1:22: tracker: 'projct' is not a field of tracker; it takes title, body, footer, "
    "attachments, project, labels, extra; did you mean 'project'?",
    "{issue: {labels: [{a: b}]}}": "a.yaml:1:29: tracker: labels must be one value, not a mapping",
    '{issue: {title: "{{ version }}"}}': "a.yaml:1:27: tracker: title: unknown name 'version'",
    "{issue: {title: A, title: B}}": "a.yaml:1:30: the key 'title' stands twice here",
}


@pytest.mark.parametrize(("given", "expected"), DEFAULTS.items())
def test_a_slip_in_defaults_is_found(given: str, expected: str) -> None:
    (found,) = problems_of(f"defaults: {given}\nrules: [{{name: A, when: always, then: [tracker]}}]")
    assert found.startswith(expected)


def test_defaults_by_kind_outlive_the_compilation(tmp_path: Path) -> None:
    """The dispatcher compiles a rule set of the store without its destinations, and must send the same."""
    files = {"a.yaml": "defaults: {issue: {project: KIND}}\nrules: [{name: A, when: always, then: [tracker]}]"}
    migrate(tmp_path / "store.db")
    with closing(connect(tmp_path / "store.db")) as db:
        seq = publish(db, compile_rules(files, DESTINATIONS).hash, files, 1)
    rules = RuleBook(tmp_path / "store.db", DESTINATIONS).rule_set(seq)
    (step,) = rules.evaluate(mail()).steps
    assert render(rules, step, mail()).fields == {"project": "KIND"}


# Maps

MAPS = """
lists:
  teams: {billing: finance, Straße: roads, "*@big.example": vip, "*.bücher.example": books, "bü*.net": net, "": none}
rules:
  - name: A
    when: always
    extract: {team: {from: %s, map: teams%s}}
    then: [tracker: {title: "{{ team }}"}]
"""
MAPPED = [
    ("subject", "", "Billing", "finance"),
    ("subject", "", " billing ", "finance"),
    ("subject", "", "STRASSE", "roads"),
    ("subject", "", "ada@BIG.example", "vip"),
    ("subject", "", "nothing", None),
    ("subject", ", default: all", "nothing", "all"),
    ("subject", ", matches: 'to (\\w+)'", "to BILLING now", "finance"),
    ("subject", ", matches: ['to (\\w+)', 'for (\\w+)']", "to nobody for billing", "finance"),
    ("subject", ", matches: 'to (\\w+)', default: all", "to nobody", "all"),
    ("subject", ", matches: 'to (\\w+)', default: all", "nothing", "all"),
    ("subject", ", default: all", None, "all"),
    ("recipient.user", "", "x", None),
]


@pytest.mark.parametrize(("field", "more", "subject", "expected"), MAPPED)
def test_a_map_looks_values_up(field: str, more: str, subject: str | None, expected: str | None) -> None:
    found = [each.title for each in contents(MAPS % (field, more), mail(subject))]
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a@shop.bücher.example", "books"),
        ("a@shop.xn--bcher-kva.example", "books"),
        ("a@BÜCHER.net", "net"),
        ("a@xn--bcher-kva.net", "net"),
        ("a@other.example", None),
    ],
)
def test_domains_are_looked_up_as_in_compares_them(address: str, expected: str | None) -> None:
    found = [each.title for each in contents(MAPS % ("from.domain", ""), mail(from_=Address(address)))]
    assert found == ([] if expected is None else [expected])
    listed = MAPS % ("from.domain", "") + "  - {name: B, when: {from.domain: {in: teams}}, then: [other]}"
    assert ("B" in planned(listed, mail(from_=Address(address))).matched) is (expected is not None)


# Modes


def test_a_rule_that_does_not_act_is_absent() -> None:
    text = """rules:
  - {name: Logged, mode: log_only, when: always, then: [tracker], stop: true}
  - {name: Off, mode: disabled, when: always, then: [tracker], stop: true}
  - {name: None of them, mode: 0%, when: always, then: [tracker], stop: true}
  - {name: All of them, mode: 100%, when: unmatched, then: [tracker]}
  - {name: Rest, mode: live, when: unmatched, then: [other]}
"""
    plan = planned(text)
    assert [step.rule for step in plan.steps] == ["All of them"]
    assert plan.matched == ("Logged", "None of them", "All of them")
    told = {each.rule: (each.outcome, each.reason) for each in compiled(text).explain(mail()).rules}
    assert told["Logged"] == ("logged", "always; nothing is sent: its mode is log_only")
    assert told["Off"] == ("not reached", "it is disabled")
    assert told["None of them"] == ("logged", "always; nothing is sent: its mode is 0%")
    assert told["All of them"][0] == "matched"


def test_a_parent_that_does_not_act_keeps_its_children_from_acting() -> None:
    text = """rules:
  - name: Parent
    mode: log_only
    when: always
    correlate: {by: a, window: 1h}
    limit: {per: a, count: 1, window: 1h}
    rules:
      - {name: Sends, when: {subject: hello}, then: [tracker, hold], stop: true}
      - {name: Too, when: always, then: [drop]}
  - {name: Rest, when: unmatched, then: [other]}
"""
    plan = planned(text)
    assert plan == Plan(steps=(Step("Rest", 0, "other"),), matched=("Parent", "Sends", "Too", "Rest"))


def test_a_disabled_parent_has_no_children() -> None:
    text = """rules:
  - {name: Parent, mode: disabled, when: always, rules: [{name: Child, when: always, then: [tracker]}]}
"""
    assert planned(text) == Plan()


def test_a_share_is_about_right_and_stable_in_a_conversation() -> None:
    rules = compiled("rules: [{name: A, mode: 10%, when: always, then: [tracker]}]")
    acting = 0
    for number in range(10_000):
        head = mail(id=f"a{number}", message_id=f"<{number}@example.org>")
        reply = mail(id=f"b{number}", message_id=f"<r{number}@x.example>", references=(f"<{number}@example.org>",))
        later = mail(id=f"c{number}", message_id=None, references=(f"<r{number}@x.example>", f"<{number}@example.org>"))
        acts = {bool(rules.evaluate(each).steps) for each in (head, reply, later, head)}
        assert len(acts) == 1
        acting += acts.pop()
    assert 900 < acting < 1100
    half = Mode("share", 0.5)
    both = sum(
        half.acts("A", mail(message_id=f"<{number}>")) and half.acts("B", mail(message_id=f"<{number}>"))
        for number in range(4000)
    )
    assert 850 < both < 1150, "two rules choose independently"


MODES = {"10%": "10%", "0.5%": "0.5%", "12.5 %": "12.5%", "100%": "100%", "log_only": "log_only"}


@pytest.mark.parametrize(("mode", "told"), MODES.items())
def test_a_mode_is_told_as_it_is_written(mode: str, told: str) -> None:
    assert str(compiled(f"rules: [{{name: A, mode: {mode}, when: always, then: [tracker]}}]").rules[0].mode) == told


SLIPS = {
    "mode: 101%": "a.yaml:2:9: mode of rule 'A' must be live, log_only or disabled; or a share",
    "mode: log-only": "a.yaml:2:9: mode of rule 'A' must be live, log_only or disabled; did you mean 'log_only'?",
    "mode: 10": "a.yaml:2:9: mode of rule 'A' must be live, log_only or disabled; or a share of the conversations",
    "first_only: true": "a.yaml:2:15: first_only of rule 'A' is about its children, and it has no rules",
    "correlate: {by: a}": "a.yaml:2:14: correlate of rule 'A': 'window' is missing",
    "correlate: {by: a, window: soon}": "a.yaml:2:30: window of correlate of rule 'A': 'soon' is no duration",
    "correlate: {by: a, window: 1h, grup: b}": "a.yaml:2:34: unknown key 'grup' in correlate of rule 'A'; did you mean",
    'correlate: {by: "{{ hots }}", window: 1h}': "a.yaml:2:19: by of correlate of rule 'A': unknown name 'hots'",
    'correlate: {by: "{{ message_url }}", window: 1h}': "a.yaml:2:19: by of correlate of rule 'A': ",
    "correlate: a": "a.yaml:2:14: correlate of rule 'A' takes a mapping such as {by: ",
    "limit: {per: a, count: 0, window: 1h}": "a.yaml:2:26: count of limit of rule 'A' must be a whole number from 1",
    "limit: {per: a, count: 1.5, window: 1h}": "a.yaml:2:26: count of limit of rule 'A' must be a whole number from 1",
    "limit: {per: a, count: 1, window: 1h, over: supress}": "a.yaml:2:47: over of limit of rule 'A' must be one of "
    "suppress, hold, drop; did you mean 'suppress'?",
    "limit: {per: a, window: 1h}": "a.yaml:2:10: limit of rule 'A': 'count' is missing",
}


@pytest.mark.parametrize(("line", "expected"), SLIPS.items())
def test_a_slip_is_found(line: str, expected: str) -> None:
    (found,) = problems_of(f"rules: [{{name: A, when: always, then: [tracker],\n  {line}}}]")
    assert found.startswith(expected)


# First only


def test_first_only_takes_the_first_child_that_matches_and_acts() -> None:
    text = """rules:
  - name: Parent
    when: always
    first_only: true
    rules:
      - {name: Not this, when: {subject: nothing}, then: [tracker]}
      - {name: Not acting, mode: log_only, when: always, then: [tracker]}
      - {name: No value, when: always, extract: {v: {from: subject, matches: '(x)'}}, then: [tracker]}
      - name: This
        when: {subject: hello}
        rules: [{name: Deeper, when: always, then: [other]}, {name: Too, when: {subject: hello}, stop: true}]
      - {name: Too late, when: always, then: [tracker]}
  - {name: Stopped, when: always, then: [other]}
"""
    plan = planned(text)
    assert plan.matched == ("Parent", "Not acting", "This", "Deeper", "Too")
    told = {each.rule: each.reason for each in compiled(text).explain(mail()).rules}
    assert told["Stopped"] == "rule 'Too' stopped the evaluation"
    plan = planned(text.replace(", {name: Too, when: {subject: hello}, stop: true}", ""))
    assert plan.matched == ("Parent", "Not acting", "This", "Deeper", "Stopped")
    told = {
        each.rule: each.reason for each in compiled(text.replace("stop: true", "stop: false")).explain(mail()).rules
    }
    assert told["Too late"] == "only the first that matches counts, and that was 'This'"


# Hold and drop


def test_hold_and_drop_with_their_reasons() -> None:
    text = """rules:
  - {name: A, when: always, then: [hold, tracker]}
  - {name: B, when: always, then: [drop: {reason: "because of {{ from }}"}]}
  - {name: C, when: always, then: [hold: {reason: plain}]}
  - {name: D, when: always, then: [drop: {reason: "{{ headers['X'] | first }}"}]}
  - {name: E, when: unmatched, then: [other]}
"""
    plan = planned(text)
    assert plan.holds == (Verdict("A", ""), Verdict("C", "plain"))
    assert plan.drops[0] == Verdict("B", "because of jo@example.org")
    assert [step.destination for step in plan.steps] == ["tracker"]
    assert plan.matched == ("A", "B", "C", "D")


def test_a_reason_is_one_line_and_no_program() -> None:
    text = "rules: [{name: A, when: always, then: [hold: {reason: '{{ subject }}'}]}]"
    (hold,) = planned(text, mail("{{ 7 * 7 }}\r\n  and\tmore " + "x" * 1000)).holds
    assert hold.reason.startswith("{{ 7 * 7 }} and more xxx") and len(hold.reason) == 500


@pytest.mark.parametrize("action", ["hold", "drop", "hold: {reason: x}", "tracker", "update"])
def test_whatever_is_planned_counts_as_planned(action: str) -> None:
    text = f"""rules:
  - {{name: A, when: {{subject: hello}}, limit: {{per: x, count: 1, window: 1h}}, then: [{action}]}}
  - {{name: B, when: unmatched, then: [other]}}
  - {{name: C, when: {{all: [unmatched, {{subject: nothing}}]}}, then: [other]}}
"""
    assert planned(text).matched == ("A",)
    assert planned(text, mail("nothing")).matched == ("B",)


def test_rules_can_be_left_out_with_their_children() -> None:
    text = """rules:
  - {name: A, when: {subject: hello}, then: [hold], stop: true, rules: [{name: Child, when: always, then: [tracker]}]}
  - {name: B, when: unmatched, then: [other]}
"""
    assert planned(text).matched == ("A", "Child")
    assert planned(text, without=frozenset({"A"})) == Plan(steps=(Step("B", 0, "other"),), matched=("B",))
    told = compiled(text).explain(mail(), without=frozenset({"A"})).rules
    assert [(each.outcome, each.reason) for each in told[:2]] == [("not reached", "it is left out here")] * 2


# Correlate and limit

ALERTS = r"""rules:
  - name: Alerts
    when: always
    extract: {alert: {from: subject, matches: '^(?P<state>\w+): (?P<host>[^/]*)/(?P<service>.*)$'}}
    correlate: {by: "{{ alert.host }}/{{ alert.service }}", window: 3d}
    limit: {per: "{{ alert.host }}", count: 20, window: 1h, over: hold}
    rules:
      - name: Down
        when: {alert.state: DOWN}
        limit: {per: "{{ alert.service }}", count: 2, window: 90s}
        then: [tracker]
      - {name: Other, when: {not: {alert.state: DOWN}}, then: [update: {state: closed}], correlate: {by: x, window: 1m}}
  - {name: Rest, when: always, then: [other]}
"""


def test_keys_of_correlations_and_limits_stand_in_the_plan() -> None:
    plan = planned(ALERTS, mail("DOWN:  Web1/HTTP  Proxy"))
    assert plan.correlations == (Correlation("Alerts", "Alerts", "web1/http proxy", 259_200),)
    assert plan.limits == (Limit("Alerts", "web1", 20, 3600, "hold"), Limit("Down", "http proxy", 2, 90, "suppress"))
    values = {"alert": {"state": "DOWN", "host": "Web1", "service": "HTTP  Proxy"}}
    assert plan.steps == (Step("Down", 0, "tracker", values, limits=(0, 1)), Step("Rest", 0, "other"))
    assert plan.needs_store and not plan.notices and not plan.asked_items


def test_children_share_the_group_of_their_parent() -> None:
    plan = planned(ALERTS, mail("UP: a/b"))
    assert [(each.rule, each.group, each.key) for each in plan.correlations] == [
        ("Alerts", "Alerts", "a/b"),
        ("Other", "Alerts", "x"),
    ]
    assert (plan.steps[0].destination, plan.steps[0].update, plan.steps[0].limits) == ("", True, (0,))
    named = ALERTS.replace("window: 3d", "window: 3d, group: shared")
    assert [each.group for each in planned(named, mail("UP: a/b")).correlations] == ["shared", "shared"]
    own = ALERTS.replace("{by: x, window: 1m}", "{by: x, window: 1m, group: own}")
    assert [each.group for each in planned(own, mail("UP: a/b")).correlations] == ["Alerts", "own"]


KEYS = [
    ("{{ subject }}", "Hello  World", "hello world"),
    ("{{ subject }}", "", None),
    ("{{ subject }}", None, None),
    ("{{ spam_score }}", "x", None),
    ("{{ attachments | length }}", "x", "0"),
    ("constant", "x", "constant"),
    ("{{ subject }}", "{{ 7 * 7 }}", "{{ 7 * 7 }}"),
    ("{{ subject }}", "a" * 900, "a" * 500),
]


@pytest.mark.parametrize(("template", "subject", "expected"), KEYS)
def test_keys_are_texts_without_case(template: str, subject: str | None, expected: str | None) -> None:
    by, per = f'correlate: {{by: "{template}", window: 1h}}', f'limit: {{per: "{template}", count: 1, window: 1h}}'
    plan = planned(f"rules: [{{name: A, when: always, then: [tracker], {by}, {per}}}]", mail(subject))
    assert [each.key for each in plan.correlations] == ([] if expected is None else [expected])
    assert [each.key for each in plan.limits] == [expected or ""]


FAILING = ["{{ (subject | int) // 0 }}", "{{ to[3].address }}", "{{ cc | list }}"]


@pytest.mark.parametrize("template", FAILING)
def test_a_key_that_fails_means_no_correlation_and_no_limit_with_a_notice(template: str) -> None:
    """They may not be found at load, and then must not keep the mail from being routed."""
    by, per = f'correlate: {{by: "{template}", window: 1h}}', f'limit: {{per: "{template}", count: 1, window: 1h}}'
    plan = planned(f"rules: [{{name: A, when: always, then: [tracker], {by}, {per}}}]")
    assert (plan.correlations, plan.limits, plan.steps[0].limits) == ((), (), ())
    first, second = plan.notices
    assert first.startswith("rule 'A': no correlation: ") and second.startswith("rule 'A': no limit: ")
    assert not plan.needs_store


# Actions


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("all", (0, 1, 2)),
        ("none", ()),
        ("{name: {ends_with: .pdf}}", (0, 2)),
        ("{type: application/pdf, size: {below: 1kB}}", (0,)),
        ("{size: {above: 1MB}}", ()),
    ],
)
def test_which_attachments_go_along(given: str, expected: tuple[int, ...]) -> None:
    files = (
        Attachment("a.PDF", "application/pdf", 10, "0"),
        Attachment("b.png", "image/png", 10, "1"),
        Attachment("c.pdf", "application/pdf", 5000, "2"),
    )
    text = f"rules: [{{name: A, when: always, then: [tracker: {{attachments: {given}}}]}}]"
    assert contents(text, mail(attachments=files))[0].attachments == expected
    assert contents(text)[0].attachments == ()


def test_what_stands_beside_a_destination() -> None:
    text = """rules:
  - name: A
    when: always
    then:
      - tracker
      - {tracker: {title: x}, reuse: false}
      - {tracker: , per_recipient: true}
      - {tracker: {}, reuse: true, per_recipient: no}
"""
    flags = [(step.reuse, step.per_recipient) for step in planned(text).steps]
    assert flags == [(True, False), (False, False), (True, True), (True, False)]
    assert [step.action for step in planned(text).steps] == [0, 1, 2, 3]


def test_an_update_comments_with_what_is_new_and_the_files() -> None:
    text = """rules:
  - {name: A, when: always, then: [update, update: {state: closed, body: "by {{ rule }}", destination: tracker}]}
"""
    message = mail("Re: Hello", text="New.\n\n> old\n", attachments=(Attachment("a", "b/c", 1, "0"),))
    rules = compiled(text)
    first, second = rules.evaluate(message).steps
    assert (first.update, first.destination, second.destination) == (True, "", "tracker")
    content = render(rules, first, message, continues=True)
    assert (content.update, content.state, content.body.strip(), content.attachments) == (True, "", "New.", (0,))
    content = render(rules, second, message, continues=True)
    assert (content.update, content.state, content.body) == (True, "closed", "by A")


ACTIONS = {
    "update: {state: close}": "1:59: update: state must be open or closed; did you mean 'closed'?",
    "update: {destination: trackr}": "1:65: update: destination: no destination 'trackr' in config.yaml; did you mean",
    "update: {title: x}": "1:52: unknown field 'title' in update",
    "hold: {raeson: x}": "1:50: unknown field 'raeson' in hold; did you mean 'reason'?",
    'drop: {reason: "{{ subjct }}"}': "1:58: drop: reason: unknown name 'subjct'; did you mean 'subject'?",
    "hodl": "1:43: no destination 'hodl' in config.yaml; did you mean 'hold'?",
    "tracker: {attachments: {nam: x}}": "1:67: unknown key 'nam' in tracker: attachments; did you mean 'name'?",
    "tracker: {attachments: some}": "1:66: tracker: attachments must be all, none, or tests such as",
}


@pytest.mark.parametrize(("action", "expected"), ACTIONS.items())
def test_a_slip_in_an_action_is_found(action: str, expected: str) -> None:
    (found,) = problems_of(f"rules: [{{name: A, when: always,    then: [{action}]}}]")
    assert found.startswith(f"a.yaml:{expected}")


def test_a_template_that_fails_costs_its_own_step() -> None:
    rules = compiled("""rules:
  - name: A
    when: always
    then: [tracker: {title: "{{ to[3].address }}"}, update: {body: "{{ to[3].address }}"}, other]
""")
    first, second, third = rules.evaluate(mail()).steps
    for step, place in ((first, "rule 'A', tracker: title: "), (second, "rule 'A', update: body: ")):
        with pytest.raises(RenderError) as caught:
            render(rules, step, mail())
        assert caught.value.reason.startswith(place)
    assert render(rules, third, mail()).title == "Hello"


# Explanations agree with decisions

leaves = st.sampled_from(
    [
        {"not": {"subject": "surely not"}},
        "unmatched",
        {"subject": {"contains": "a"}},
        {"subject": {"starts_with": "b"}},
        {"not": {"subject": {"contains": "a"}}},
        {"item": {"exists": "true"}},
        {"item": "tracker"},
        {"all": ["unmatched", {"size": {"above": "10"}}]},
        {"any": ["odd", {"attachment_count": "1"}]},
        "odd",
    ]
)
actions = st.sampled_from(
    ["tracker", "other", "hold", "drop", "update", {"drop": {"reason": "{{ subject }}"}}, {"update": {"state": "open"}}]
)
modes = st.sampled_from(["live"] * 4 + ["log_only", "disabled", "50%", "0%"])
templates = st.sampled_from(["{{ subject }}", "x", "{{ to[3].address }}", "{{ spam_score }}", "{{ 1 // size_of }}"])


@st.composite
def rule_sets(draw: st.DrawFn) -> str:
    count = 0

    def rule(depth: int) -> dict[str, Any]:
        nonlocal count
        count += 1
        made: dict[str, Any] = {"name": f"R{count}", "when": draw(leaves), "mode": draw(modes)}
        key = draw(templates).replace("size_of", "(subject | length)")
        if draw(st.integers(0, 3)) == 0:
            made["correlate"] = {"by": key, "window": "1h"}
        if draw(st.integers(0, 3)) == 0:
            made["limit"] = {"per": key, "count": "1", "window": "1h", "over": draw(st.sampled_from(["hold", "drop"]))}
        if depth == 0 and draw(st.integers(0, 3)) == 0:
            made["extract"] = {"v": {"from": "subject", "matches": "(a|b)", "map": "letters"}}
        if depth < 2 and draw(st.booleans()):
            made["rules"] = [rule(depth + 1) for _ in range(draw(st.integers(1, 3)))]
            made["first_only"] = draw(st.sampled_from(["true", "false"]))
        if "rules" not in made or draw(st.booleans()):
            made["then"] = draw(st.lists(actions, min_size=1, max_size=2))
        made["stop"] = draw(st.sampled_from(["false", "false", "true"]))
        return made

    rules = [rule(0) for _ in range(draw(st.integers(1, 5)))]
    conditions = {"odd": {"subject": {"matches": "^(..)*.$"}}}
    return json.dumps({"lists": {"letters": {"a": "1"}}, "conditions": conditions, "rules": rules})


mails = st.builds(
    mail,
    st.none() | st.text("abx", max_size=4),
    size=st.integers(0, 20),
    message_id=st.none() | st.sampled_from(["<1>", "<2>", "<3>"]),
    attachments=st.sampled_from([(), (Attachment("a", "b/c", 1, "0"),)]),
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    rule_sets(),
    st.lists(mails, min_size=1, max_size=3),
    st.sampled_from([(), ("tracker",), ("other", "tracker")]),
    st.sets(st.sampled_from(["R1", "R2", "R3"]), max_size=1),
)
def test_an_explanation_is_of_the_decision_that_was_made(
    text: str, messages: list[Message], there: tuple[str, ...], without: set[str]
) -> None:
    rules = compiled(text)
    for message in messages:
        plan = rules.evaluate(message, lambda _: there, frozenset(without))
        trace = rules.explain(message, lambda _: there, frozenset(without))
        assert trace.plan == plan
        assert tuple(each.rule for each in trace.rules if each.outcome in ("matched", "logged")) == plan.matched
        assert all(each.reason for each in trace.rules)
        acting = {each.rule for each in trace.rules if each.outcome == "matched"}
        everything = [*plan.steps, *plan.holds, *plan.drops, *plan.correlations, *plan.limits]
        assert {each.rule for each in everything} <= acting
        assert all(0 <= position < len(plan.limits) for step in plan.steps for position in step.limits)
        assert without.isdisjoint(plan.matched)
        # What the store tells of items is asked for where it may matter: without it the plan says so.
        assert rules.evaluate(message, None, frozenset(without)).asked_items or plan.asked_items is False
