# ruff: noqa: E501 - tables of faults read best with a fault in one line
"""Slips of the pen in rule files: each is found at load, with its place and a sentence that says what to do."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal

import pytest

from postroom.fields import FieldSet, Json, setting
from postroom.problems import InvalidFiles
from postroom.rules import EMPTY, compile_rules, read_files
from postroom.rules.actions import COMMON
from postroom.rules.operators import OPERATORS
from postroom.rules.sandbox import FILTERS
from postroom.rules.template_names import NAMES


@dataclasses.dataclass(frozen=True)
class JiraFields:
    project: str = setting("key of the project")
    type: str = setting("issue type", default="Task")
    labels: list[str] = setting("labels", default_factory=list)
    priority: Literal["low", "high"] | None = setting("priority", default=None)
    points: int | None = setting("story points", default=None)
    watch: bool = setting("watch it", default=False)
    fields: dict[str, Json] = setting("more fields", default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ChatFields:
    channel: str | None = setting("channel", default=None)


DESTINATIONS = {"jira": FieldSet("jira", JiraFields), "chat": FieldSet("chat", ChatFields)}


def problems_of(text: str, **more: str) -> list[str]:
    files = {"a.yaml": text} | {f"{name}.yaml": content for name, content in more.items()}
    with pytest.raises(InvalidFiles) as caught:
        compile_rules(files, DESTINATIONS)
    return [str(problem) for problem in caught.value.problems]


def rule(when: str = "always", then: str = "[chat]", more: str = "") -> str:
    """A file of one rule; `when` begins at 3:11, `then` at 4:11, `more` in line 5."""
    return f"rules:\n  - name: A\n    when: {when}\n    then: {then}\n{more}"


WHEN = {
    "{subjct: Hello}": "3:12: unknown field 'subjct' in rule 'A'; did you mean 'subject'?",
    "{body: Hello}": "3:12: unknown field 'body' in rule 'A'; did you mean 'text'?",
    "{colour: red}": "3:12: unknown field 'colour' in rule 'A'; there are recipient, return_path, from, to, cc, reply_to, "
    "addressed, subject, base_subject, text, html, reply_text, kind, ingress, auth.spf, auth.dkim, auth.dmarc, header, size, "
    "spam_score, attachment_count, attachment, ip, item, received, parts such as from.domain, and extracted values",
    "{from.domian: example.com}": "3:12: unknown field 'from.domian' in rule 'A'; did you mean 'from.domain'?",
    "{subject: {contain: x}}": "3:22: unknown operator 'contain' in the test of subject in rule 'A'; "
    "did you mean 'contains'?",
    "{from: {domain: example.com}}": "3:19: 'domain' is a part, not an operator, in rule 'A'; write from.domain: ...",
    "{contains: x}": "3:12: 'contains' is an operator and needs a field in rule 'A', such as subject: {contains: ...}",
    "{kind: replies}": "3:18: the test of kind in rule 'A': there is no kind of mail 'replies'; did you mean 'reply'?",
    "{from: example.com}": "3:18: the test of from in rule 'A': 'example.com' is no address; for a domain write "
    "from.domain: example.com",
    "{from: '*@example.com'}": "3:18: the test of from in rule 'A': a plain value is compared as it stands; for * and ? "
    'write {glob: "*@example.com"}',
    "{from.domain: '@example.com'}": "3:25: the test of from.domain in rule 'A': a domain has no @; write example.com",
    "{recipient.user: sup+x@example.com}": "3:28: the test of recipient.user in rule 'A': user is what stands before + "
    "and @; write sup",
    "{subject: {matches: '(?=a)b'}}": "3:31: matches of subject in rule 'A': RE2 has no look-ahead and no look-behind; "
    "say it with two tests, or with not:",
    r"{subject: {matches: '(a)\1'}}": "3:31: matches of subject in rule 'A': RE2 has no back-references",
    "{subject: {matches: 'a++'}}": "3:31: matches of subject in rule 'A': RE2 has no possessive or atomic groups, and "
    "needs none: it does not backtrack",
    "{subject: {matches: '[a'}}": "3:31: matches of subject in rule 'A': RE2 cannot take the pattern: missing ]: [a",
    r'{subject: {matches: "\bOK\b"}}': "3:31: matches of subject in rule 'A' holds a backspace character; in double "
    "quotes a backslash is an escape of YAML's; use single quotes",
    r'{subject: {matches: "\d+"}}': "3:32: YAML: found unknown escape character; in double quotes a backslash is an "
    "escape of YAML's; put patterns in single quotes",
    "{subject: {contains: x, case_sensitive: true}}": "3:35: case_sensitive in rule 'A' stands beside matches only; other "
    "tests of subject never look at case",
    "{subject: {matches: x, case_sensitive: perhaps}}": "3:50: case_sensitive must be true or false",
    "{subject: {exists: maybe}}": "3:30: exists of subject in rule 'A' must be true or false",
    "{subject: {exists: false, is: x}}": "3:21: subject in rule 'A': what does not exist meets no other test; "
    "exists: false must stand alone",
    "{subject: {}}": "3:21: the test of subject in rule 'A' is empty",
    "{subject: []}": "3:21: the test of subject in rule 'A' is an empty list; name at least one value",
    "{subject: {contains: ''}}": "3:32: contains of subject in rule 'A' is empty",
    "{subject: [Re: hello]}": "3:22: the test of subject in rule 'A' must be a text, not a mapping; a text with \": \" in "
    'it must stand in quotes, such as "Re: ..."',
    "{subject: [[a]]}": "3:22: the test of subject in rule 'A' must be a text, not a list",
    "{from: {in: vip}}": "3:23: in of from in rule 'A': there is no list 'vip'",
    "{header: X-Host}": "3:20: header: in rule 'A' takes names with tests, such as header: {X-Priority: 1}",
    "{header: {X Host: a}}": "3:21: 'X Host' is no name of a header (in rule 'A')",
    "{header.X-Host: a}": "3:12: write header: {X-Host: ...} in rule 'A'",
    "{}": "3:11: a condition in rule 'A' is empty; for every mail write when: always",
    "allways": "3:11: there is no condition 'allways' (in rule 'A'); did you mean 'always'?",
    "[{subject: x}]": "3:11: when in rule 'A' is a list; write all: [..] or any: [..] above it",
    "{any: {subject: x}}": "3:17: any: in rule 'A' takes a list of conditions",
    "{all: []}": "3:17: all: in rule 'A' takes a list of conditions",
    "{all: [always]}": "3:18: 'always' is no condition in rule 'A'",
    "{all: [[{subject: x}]]}": "3:18: a list where a condition is needed in rule 'A'; write all: [..] or any: [..]",
    "{not: {subject: x, text: y}}": "3:17: not: takes one condition of one entry, such as not: {subject: Hello} (in rule "
    "'A'); for several write not: {any: [..]} or not: {all: [..]}",
    "{not: x}": "3:17: not: takes one condition of one entry",
    "{unmatched: true}": "3:12: 'unmatched' stands alone, without a value, in rule 'A'; write when: unmatched, or "
    "all: [unmatched, ..]",
    "{subject: a, subject: b}": "3:24: the key 'subject' stands twice here (first in line 3)",
    "{from: *@example.com}": "3:19: YAML: did not find expected alphabetic or numeric character; a text that begins with * "
    'must stand in quotes, such as "*@example.com"',
}


@pytest.mark.parametrize(("when", "expected"), WHEN.items())
def test_a_slip_in_a_condition_is_found(when: str, expected: str) -> None:
    found = problems_of(rule(when))
    assert len(found) == 1
    assert found[0].startswith(f"rules/a.yaml:{expected}")


THEN = {
    "[jirra: {project: X}]": "4:12: no destination 'jirra' in config.yaml; did you mean 'jira'?",
    "[mattermost]": "4:12: no destination 'mattermost' in config.yaml; there are jira, chat",
    "[jira: {project: X, tittle: x}]": "4:31: jira: 'tittle' is not a field of jira; it takes title, body, footer, "
    "attachments, project, type, labels, priority, points, watch, fields; did you mean 'title'?",
    "[jira]": "4:12: jira: the field 'project' is missing (key of the project)",
    "[jira: {project: X, priority: hgh}]": "4:41: jira: priority: 'hgh' is none of low, high; did you mean 'high'?",
    "[jira: {project: X, points: many}]": "4:39: jira: points: 'many' is no whole number",
    "[jira: {project: X, watch: perhaps}]": "4:38: jira: watch: 'perhaps' is neither true nor false",
    "[jira: {project: [X, Y]}]": "4:28: jira: project must be one value, not a list",
    "[jira: {project: X, labels: [{a: b}]}]": "4:40: jira: labels must be one value, not a mapping",
    "[jira: {project: X, fields: x}]": "4:39: jira: fields must be a mapping",
    "[jira: {project: }]": "4:28: jira: project is empty; give a value (a text that begins with # must stand in quotes: "
    "YAML takes it as a comment)",
    "[chat: {attachments: some}]": "4:32: chat: attachments must be all, none, or tests such as {name: {ends_with: .pdf}}",
    "[chat: hello]": "4:18: chat in rule 'A' takes a mapping of fields, such as chat: {title: ..}",
    "chat": "4:11: then in rule 'A' takes a list of actions; write then: [chat]",
    "{chat: {}}": "4:11: then in rule 'A' takes a list of actions; write then: [chat: {..}]",
    "[]": "4:11: then in rule 'A' is an empty list; leave it out, or name a destination",
    "[{jira: {project: X}, chat: {}}]": "4:12: an action in rule 'A' must be the name of a destination, or its name with "
    "fields, such as - jira: {title: ..}; put a - before each destination, and indent its fields below it",
    "[chat: {title: {{ subject }}}]": "4:27: a template must stand in quotes",
    '[chat: {title: "{{ subjct }}"}]': "4:26: chat: title: unknown name 'subjct'; did you mean 'subject'?",
    '[chat: {title: "{{ subject"}]': "4:26: chat: title: this is no template: unexpected end of template",
    '[chat: {title: "{% if subject | uper %}x{% endif %}"}]': "4:26: chat: title: unknown filter 'uper'; did you mean "
    "'upper'?",
    '[chat: {title: "{{ from.nmae }}"}]': "4:26: chat: title: an address has no 'nmae'; did you mean 'name'?",
    '[jira: {project: X, fields: {a: ["{{ oops() }}"]}}]': "4:44: jira: fields.a: there is no function 'oops'",
    '[jira: {project: X, fields: {"{{ rule }}": x}}]': "4:40: jira: fields: a key cannot be a template",
}


@pytest.mark.parametrize(("then", "expected"), THEN.items())
def test_a_slip_in_an_action_is_found(then: str, expected: str) -> None:
    found = problems_of(rule(then=then))
    assert len(found) == 1
    assert found[0].startswith(f"rules/a.yaml:{expected}")


REST = {
    "colour: blue": "5:5: unknown key 'colour' in rule 'A'; it takes name, description, tags, mode, when, extract, "
    "correlate, limit, defaults, then, rules, first_only, stop",
    "limit: {count: 5, window: 1h}": "5:12: limit of rule 'A': 'per' is missing, as in {per: ",
    "stopp: true": "5:5: unknown key 'stopp' in rule 'A'; did you mean 'stop'?",
    "stop: maybe": "5:11: stop of rule 'A' must be true or false",
    "tags: {a: b}": "5:11: tags of rule 'A' must be a text, not a mapping",
    "description: [a]": "5:18: description of rule 'A' must be a text, not a list",
    "rules: {name: B}": "5:12: rules of rule 'A': a list of rules is needed, each beginning with - name:",
    "rules: [B]": "5:13: rules of rule 'A': a rule is a mapping that begins with - name:",
    "rules: [{name: A, when: always, stop: true}]": "5:20: the name 'A' is taken (by the rule in rules/a.yaml:2)",
    "rules: [{name: B, when: always}]": "5:13: rule 'B' does nothing: give it then, rules or stop",
    "rules: [{when: always, stop: true}]": "5:13: a rule needs a name",
    "rules: [{name: B, stop: true}]": "5:13: 'when' is missing in rule 'B'; for every mail write when: always",
    "rules: [{name: B, when: {v: 1}, stop: true}]": "5:30: unknown field 'v' in rule 'B'",
    "extract: version": "5:14: extract in rule 'A' takes values by name",
    "extract: {v: text}": "5:18: extract 'v' in rule 'A' must be a mapping such as",
    "extract: {v: {from: text}}": "5:18: extract 'v' in rule 'A': 'matches' is missing",
    "extract: {v: {matches: x}}": "5:18: extract 'v' in rule 'A': 'from' is missing",
    "extract: {v: {from: txt, matches: x}}": "5:25: extract 'v' in rule 'A': unknown field 'txt'; did you mean 'text'?",
    "extract: {v: {from: header, matches: x}}": "5:25: extract 'v' in rule 'A': name the header too, such as from: "
    "header.X-Host",
    "extract: {v: {from: text, matches: x, map: y}}": "5:48: map of extract 'v' in rule 'A': there is no list 'y'",
    "extract: {v: {from: text, matches: x, mapp: y}}": "5:43: unknown key 'mapp' in extract 'v' in rule 'A'; did you",
    "extract: {v: {from: text, matches: '(?=x)'}}": "5:40: matches of extract 'v' in rule 'A': RE2 has no look-ahead",
    "extract: {v: {from: text, matches: '(?P<a>x)(?P<a>y)'}}": "5:40: matches of extract 'v' in rule 'A': two groups of "
    "the pattern have the same name",
    "extract: {v: {from: text, matches: ['(?P<a>x)', '(y)']}}": "5:53: matches of extract 'v' in rule 'A': either all "
    "patterns have named groups, or none has",
    "extract: {v: {from: text, matches: x, default: {a: b}}}": "5:52: default of extract 'v' in rule 'A' must be a text: "
    "its pattern has no named groups",
    "extract: {v: {from: text, matches: '(?P<a>x)', default: {b: c}}}": "5:62: unknown group 'b' in default of extract 'v' "
    "in rule 'A'; it takes a",
    "extract: {subject: {from: text, matches: x}}": "5:15: 'subject' cannot name a value in rule 'A': it means something "
    "already; choose another name",
    "extract: {a-b: {from: text, matches: x}}": "5:15: 'a-b' cannot name a value in rule 'A'; use letters, digits and _",
}


@pytest.mark.parametrize(("line", "expected"), REST.items())
def test_a_slip_elsewhere_in_a_rule_is_found(line: str, expected: str) -> None:
    found = problems_of(rule(more=f"    {line}\n"))
    assert len(found) == 1
    assert found[0].startswith(f"rules/a.yaml:{expected}")


FILES = {
    "rulez: []\n": "1:1: unknown key 'rulez' in a rule file; did you mean 'rules'?",
    "test: []\n": "1:1: unknown key 'test' in a rule file; did you mean 'tests'?",
    "- name: A\n": "1:1: a rule file is a mapping that begins with rules: (or lists:)",
    "rules: {}\n": "1:8: rules of a.yaml: a list of rules is needed, each beginning with - name:",
    "lists: [a]\n": "1:8: lists must be a mapping of names to lists of texts",
    "lists: {a: b}\n": "1:12: the list 'a' must be a list of texts, such as a: [ada@example.com]",
    "lists: {a: [{b: c}]}\n": "1:13: an entry of the list 'a' must be a text, not a mapping",
    "rules:\n\t- name: A\n": "2:1: a tab is used to indent; YAML allows only spaces",
    "rules:\n  - name: A\n    when:\n      subject: # 123\n    stop: true\n": "4:15: the test of subject in rule 'A' is "
    "empty; give a value (a text that begins with # must stand in quotes: YAML takes it as a comment)",
    "rules:\n  - name: A\n    when: # every mail\n    stop: true\n": "3:10: when in rule 'A' is empty",
    "rules:\n  - name: A\n    when: {subject: x}\n    then: # none\n": "4:10: then of rule 'A' is empty",
    "rules:\n  - name: A\n    when:\n      subject: Re: hi\n    stop: true\n": "4:18: YAML: mapping values are not allowed "
    'in this context; a text with ": " in it must stand in quotes',
    "rules:\n  - {name: A, when: always, stop: true}\n  - {name: B, when: always, stop: true}\n": "3:12: rule 'B' is never "
    "reached: rule 'A' (a.yaml:2) before it stops every mail",
}


@pytest.mark.parametrize(("text", "expected"), FILES.items())
def test_a_slip_in_a_file_is_found(text: str, expected: str) -> None:
    found = problems_of(text)
    assert len(found) == 1
    assert found[0].startswith(f"rules/a.yaml:{expected}")


def test_all_problems_are_reported_at_once_in_the_order_of_their_places() -> None:
    text = """rules:
  - name: One
    when: {subjct: a, from.domain: "@b"}
    then: [jirra, {jira: {tittle: "{{ nobody }}"}}]
  - name: Two
    when: {subject: {matches: '(?!x)'}}
    extract: {v: {from: txt, matches: '['}}
    then: [chat: {title: "{{ v }}"}]
"""
    found = problems_of(text, b="rules: [{name: One, when: always, stop: perhaps}]")
    places = [problem.split(": ")[0] for problem in found]
    assert places == [
        "rules/a.yaml:3:12",
        "rules/a.yaml:3:36",
        "rules/a.yaml:4:12",
        "rules/a.yaml:4:20",
        "rules/a.yaml:4:27",
        "rules/a.yaml:6:31",
        "rules/a.yaml:7:25",
        "rules/a.yaml:7:39",
        "rules/b.yaml:1:16",
        "rules/b.yaml:1:41",
    ]


def test_lists_serve_every_file_and_their_names_are_unique() -> None:
    using = "rules: [{name: A, when: {from: {in: vip}}, stop: true}]"
    listing = "lists: {vip: [a@b.example]}"
    assert compile_rules({"a.yaml": using, "b.yaml": listing}, {}).rules[0].name == "A"
    found = problems_of(listing, b=listing)
    assert found == ["rules/b.yaml:1:9: the list 'vip' stands twice (first in rules/a.yaml:1)"]
    found = problems_of("lists: {vip: [a@b.example]}\nrules: [{name: A, when: {from: {in: vpi}}, stop: true}]")
    assert found == ["rules/a.yaml:2:37: in of from in rule 'A': there is no list 'vpi'; did you mean 'vip'?"]


def test_an_extracted_value_is_known_below_the_rule_and_not_in_its_own_when() -> None:
    more = "    extract: {alert: {from: subject, matches: '(?P<state>x)'}}\n    rules: [{name: B, when: {%s: x}, stop: true}]\n"
    assert compile_rules({"a.yaml": rule(more=more % "alert.state")}, DESTINATIONS).rules[0].rules[0].name == "B"
    assert problems_of(rule(more=more % "alert")) == [
        "rules/a.yaml:6:30: 'alert' in rule 'B' has parts; write one of alert.state"
    ]
    assert problems_of(rule("{alert.state: x}", more=more % "alert.state")) == [
        "rules/a.yaml:3:12: 'alert.state' in rule 'A' is extracted after the rule's own when; test it in a rule below it "
        "(rules:)"
    ]
    again = "    extract: {v: {from: text, matches: x}}\n    rules: [{name: B, when: always, stop: true, extract: {v: {from: text, matches: x}}}]\n"
    assert problems_of(rule(more=again)) == [
        "rules/a.yaml:6:59: 'v' is extracted by a parent of rule 'B' already; choose another name"
    ]


def test_rules_after_one_that_always_stops_are_reported_across_files() -> None:
    stop = "rules: [{name: %s, when: always, stop: true}]"
    assert problems_of(stop % "A", b=stop % "B", c=stop % "C") == [
        "rules/b.yaml:1:16: rule 'B' is never reached (nor is the rule after it): rule 'A' (a.yaml:1) before it stops "
        "every mail"
    ]
    uncertain = "rules: [{name: A, when: always, extract: {v: {from: text, matches: x}}, stop: true}]"
    assert len(compile_rules({"a.yaml": uncertain, "b.yaml": stop % "B"}, {}).rules) == 2


def test_a_historic_rule_set_does_not_ask_for_its_destinations() -> None:
    rules = compile_rules({"a.yaml": rule(then="[gone: {whatever: [1, {a: b}]}]")}, None)
    assert rules.rules[0].destinations == ("gone",)


def test_what_a_rule_tells_of_itself() -> None:
    text = """rules:
  - name: Parent
    description: why
    tags: [one, two]
    when: always
    rules:
      - {name: Child, when: always, then: [chat, {jira: {project: X}}], stop: yes}
"""
    rules = compile_rules({"sub/a.yaml": text}, DESTINATIONS)
    (parent,) = rules.rules
    (child,) = parent.rules
    assert (parent.name, parent.description, parent.tags, parent.file, parent.line) == (
        "Parent",
        "why",
        ("one", "two"),
        "sub/a.yaml",
        2,
    )
    assert (child.name, child.destinations, child.line, child.stop) == ("Child", ("chat", "jira"), 7, True)


def test_no_files_and_empty_files_are_fine() -> None:
    assert EMPTY.rules == ()
    assert compile_rules({"a.yaml": "", "b.yaml": "# nothing\n", "c.yaml": "rules:\nlists:\n"}, {}).rules == ()


def test_the_hash_knows_paths_from_contents() -> None:
    def hashed(files: dict[str, str]) -> str:
        return compile_rules(files, {}).hash

    assert hashed({"a": "#1", "b": "#2"}) == hashed({"b": "#2", "a": "#1"})
    different: list[dict[str, Any]] = [{}, {"a": ""}, {"a": "#"}, {"a#": ""}, {"a": "", "b": ""}, {"a": "#b"}]
    assert len({hashed(files) for files in different}) == len(different)
    assert len(EMPTY.hash) == 64


def test_files_are_read_in_the_order_of_their_paths_without_what_editors_leave(tmp_path: Path) -> None:
    for name in (
        "b.yaml",
        "a/z.yml",
        "a-b.yaml",
        ".hidden.yaml",
        ".a.yaml.swp",
        "a.yaml~",
        "#a.yaml#",
        "x.txt",
        ".git/c.yaml",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name}\r\n", encoding="utf-8")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert read_files(tmp_path) == {"a/z.yml": "# a/z.yml\n", "a-b.yaml": "# a-b.yaml\n", "b.yaml": "# b.yaml\n"}
    assert list(read_files(tmp_path)) == ["a/z.yml", "a-b.yaml", "b.yaml"]
    assert read_files(tmp_path / "missing") == {}


def test_a_symlinked_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.yaml").write_text("rules:\n")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "linked").symlink_to(tmp_path / "there")
    assert list(read_files(tmp_path / "rules")) == ["linked/a.yaml"]


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"rules:\n  - name: \xff\n")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidFiles) as caught:
        read_files(tmp_path)
    a, b = [str(problem) for problem in caught.value.problems]
    assert a == f"{tmp_path}{os.sep}a.yaml:2:11: the file is no UTF-8 text"
    assert b == f"{tmp_path}{os.sep}b.yaml:1:1: the file cannot be read: No such file or directory"


def test_ten_thousand_rules_load_in_seconds() -> None:
    rules = (
        f"  - name: Rule {i}\n    when: {{recipient: box{i}@example.com, subject: {{matches: 'crash {i}'}}}}\n"
        f'    then: [jira: {{project: APP, title: "{{{{ subject }}}} {i}"}}]\n'
        for i in range(10_000)
    )
    assert len(compile_rules({"a.yaml": "rules:\n" + "".join(rules)}, DESTINATIONS).rules) == 10_000


DOCS = Path(__file__).parent.parent / "docs" / "rules.md"


def test_the_examples_of_the_docs_load_and_name_what_there_is() -> None:
    text = DOCS.read_text(encoding="utf-8")
    examples = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    whole = [example for example in examples if example.startswith(("rules:", "lists:"))]
    assert len(whole) >= 4
    for example in whole:
        compile_rules({"a.yaml": example}, None)
    names = (*OPERATORS, *FILTERS, *NAMES, *COMMON)
    missing = [name for name in names if f"`{name}`" not in text and f"`{name}[" not in text]
    assert missing == []
