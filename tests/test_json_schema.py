"""The JSON Schemas for editors: they take what the loaders take, refuse the slips, and say what each word means."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import yaml

import integrations
from postroom import config
from postroom.fields import Bytes, FieldSet, Json, Rate, Reader, Seconds, Secret, Url, read_value, setting, specs
from postroom.ingress import KINDS as INGRESS_KINDS
from postroom.initial import write_config
from postroom.integration import Guarantee, Integration, Job, Receipt, discover
from postroom.problems import InvalidFiles, Place
from postroom.rules import compile_rules
from postroom.rules.actions import COMMON
from postroom.rules.facts import FIELDS
from postroom.rules.loader import _FILE_KEYS, _RULE_KEYS
from postroom.rules.operators import OPERATORS
from postroom.schema import Schema, config_schema, destinations_in, rules_schema, written
from postroom.schema.values import TEMPLATE, VARIABLE, setting_of, value_of
from postroom.yamlfile import Scalar, read
from tests.instance import ROOT, run_command
from tests.schema_samples import CONFIG_GOOD, CONFIG_SLIPS, EXAMPLE, GOOD, SLIPS, TESTS, action, keys, rule


@dataclasses.dataclass(frozen=True)
class _DeskFields:
    project: str = setting("where it goes")
    labels: list[str] = setting("words on it", default_factory=list)
    urgent: bool = setting("rings a bell", default=False)
    level: Literal["low", "high"] = setting("how loud", default="low")
    copies: int | None = setting("how many", default=None)
    extra: dict[str, str] | None = setting("more", default=None)
    data: Json | None = setting("anything", default=None)


class Desk(Integration):
    kind = "desk"
    summary = "A stand-in with a field of each sort."
    guarantee = Guarantee.NONE
    Options = _DeskFields
    Fields = _DeskFields

    def deliver(self, job: Job) -> Receipt:
        return Receipt()


KINDS = discover(None, integrations)
DESTINATIONS = {"jira": "desk", "chat": "file", "archive": "file"}
FIELD_SETS = {
    name: FieldSet(kind, Desk.Fields if kind == "desk" else KINDS[kind].Fields) for name, kind in DESTINATIONS.items()
}
OPEN = rules_schema(KINDS, None)
CLOSED = rules_schema({**KINDS, "desk": Desk}, DESTINATIONS)
CONFIG = config_schema(INGRESS_KINDS, KINDS)


def problems(schema: Schema, text: str) -> list[str]:
    """What an editor would underline."""
    found = json.loads(json.dumps(yaml.safe_load(text), default=str))
    return [f"{error.json_path}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(found)]


def loads(text: str) -> bool:
    try:
        compile_rules({"a.yaml": text}, FIELD_SETS)
    except InvalidFiles:
        return False
    return True


def loaded_problems(text: str) -> str:
    try:
        compile_rules({"a.yaml": text}, FIELD_SETS)
    except InvalidFiles as invalid:
        return str(invalid)
    return ""


@pytest.mark.parametrize("text", GOOD)
def test_what_the_loader_takes_the_schema_takes(text: str) -> None:
    assert loaded_problems(text) == ""
    assert problems(CLOSED, text) == []


@pytest.mark.parametrize("text", SLIPS)
def test_slips_are_refused_by_both(text: str) -> None:
    assert not loads(text)
    assert problems(CLOSED, text)


def test_blocks_of_tests_have_their_shape() -> None:
    assert problems(CLOSED, EXAMPLE + TESTS) == []
    for slip in (
        "{name: a, message: b, expct: []}",
        "{name: a, expect: []}",
        "{name: a, message: {subject: [b]}, expect: []}",
        "{name: a, message: b, expect: [{rule: c, jira: {}, chat: {}}]}",
        "{name: a, message: b, expect: [{jira: {}}]}",
        "{name: a, message: b, expect: [{rule: c, jirra: {}}]}",
    ):
        assert problems(CLOSED, f"tests: [{slip}]"), slip


def test_without_a_configuration_any_destination_is_fine_and_those_of_known_kinds_are_checked() -> None:
    assert problems(OPEN, action("operations: {title: a, project: b}")) == []
    assert problems(OPEN, action("operations")) == []
    assert problems(OPEN, action("redmine: {tracker: Bug}")) == []
    assert problems(OPEN, action("redmine: {traker: Bug}"))
    assert problems(OPEN, action("operations: {title: [a]}"))
    assert problems(OPEN, action("{operations: {}, billing: {}}"))
    assert problems(OPEN, "defaults: {operations: {project: a}}") == []


@pytest.mark.parametrize(
    "schema", [OPEN, CLOSED, CONFIG, rules_schema(KINDS, {})], ids=["open", "closed", "config", "none"]
)
def test_the_schemas_are_draft_7(schema: Schema) -> None:
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(schema)
    # An editor that finds no definition says nothing at all about the file.
    named = {each["$ref"] for each in _parts(schema) if "$ref" in each}
    assert named <= {f"#/definitions/{name}" for name in schema["definitions"]}


def test_files_that_come_with_postroom_are_well(tmp_path: Path) -> None:
    files = sorted((ROOT / "rules").rglob("*.yaml"))
    assert files
    for path in files:
        assert problems(OPEN, path.read_text(encoding="utf-8")) == [], path.name
    assert problems(CONFIG, (ROOT / "config.example.yaml").read_text(encoding="utf-8")) == []
    write_config(tmp_path / "config.yaml", listen="127.0.0.1:8025", public_url=None, rules_dir="rules")
    assert problems(CONFIG, (tmp_path / "config.yaml").read_text(encoding="utf-8")) == []


def test_rule_files_name_the_schema_beside_them() -> None:
    for path in (ROOT / "config.example.yaml", *sorted((ROOT / "rules").glob("*.yaml"))):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        assert (path.parent / first.partition("=")[2]).is_file()


def test_shipped_schemas_are_those_of_this_program() -> None:
    for name, schema in (("rules", OPEN), ("config", CONFIG)):
        there = (ROOT / "docs" / "schema" / f"{name}.json").read_text(encoding="utf-8")
        assert there == written(schema), f"docs/schema/{name}.json is stale: make schema"


def test_keys_fields_and_operators_are_those_of_the_loader() -> None:
    definitions = CLOSED["definitions"]
    assert set(CLOSED["properties"]) == set(_FILE_KEYS)
    assert set(definitions["rule"]["properties"]) == set(definitions["inner_rule"]["properties"]) == set(_RULE_KEYS)
    assert set(FIELDS) <= set(definitions["condition"]["properties"])
    assert set(definitions["text_test"]["then"]["properties"]) == {*OPERATORS, "case_sensitive"}
    assert set(definitions["fields_desk"]["properties"]) == {*COMMON, *specs(Desk.Fields), "labels+"}


def test_each_word_of_the_schema_is_known_to_the_loader() -> None:
    definitions = CLOSED["definitions"]
    for name in definitions["condition"]["properties"]:
        assert "unknown field" not in loaded_problems(rule(f"{{{name}: {{exists: true}}}}")), name
    for test in ("text_test", "number_test"):
        field = "subject" if test == "text_test" else "spam_score"
        for form in _parts(definitions[test]):
            for name in form.get("properties", ()):
                assert "unknown" not in loaded_problems(rule(f"{{{field}: {{{name}: 1}}}}")), name
    parts = {
        "received": definitions["condition"]["properties"]["received"],
        "attachment": definitions["attachment_test"],
    }
    for field, part in parts.items():
        for name in part["properties"]:
            assert "unknown" not in loaded_problems(rule(f"{{{field}: {{{name}: x}}}}")), name
    for key in ("limit", "correlate"):
        for name in definitions["rule"]["properties"][key]["properties"]:
            assert "unknown" not in loaded_problems(keys(f"{key}: {{{name}: x}}")), name
    for name in definitions["extract"]["properties"]:
        assert "unknown key" not in loaded_problems(keys(f"extract: {{v: {{{name}: x}}}}")), name
    for name in ("update", "hold", "drop"):
        for field in definitions[f"fields_{name}"]["properties"]:
            assert "unknown" not in loaded_problems(action(f"{name}: {{{field}: x}}")), field


def test_every_field_that_the_loader_lists_is_in_the_schema() -> None:
    # The loader names its fields where somebody gives one that there is not.
    told = loaded_problems(rule("{zzzzzzzz: a}"))
    assert "there are " in told
    named = told.partition("there are ")[2].partition(", parts such as")[0].split(", ")
    assert {"recipient", "received", "header"} <= set(named)
    assert set(named) <= set(CLOSED["definitions"]["condition"]["properties"])


@pytest.mark.parametrize("schema", [OPEN, CONFIG], ids=["rules", "config"])
def test_every_key_says_what_it_means(schema: Schema) -> None:
    silent = [
        name
        for part in _parts(schema)
        for name, inner in part.get("properties", {}).items()
        if part.get("additionalProperties") is not None and "description" not in inner and "if" not in inner
        and inner != {"type": ["object", "null"]}
    ]  # fmt: skip
    assert silent == []


TEXTS = [
    "", "a", "7", "-7", "+7", "0", "1.5", "-1.5", "1e3", "true", "False", "YES", "no", "On", "off", "perhaps", "15s",
    "15 s", "1.5h", "500ms", "15", "2w", "15x", "64MB", "64 MiB", "1.5kB", "64mb", "10/s", "5/10m", "0/s", "10/0s",
    "20 / h", "10", "https://example.com/x", "HTTP://example.com", "example.com", "ftp://example.com", "https://a b",
    "low", "high", "Low",
]  # fmt: skip
SCALARS: list[Any] = [str, int, float, bool, Seconds, Bytes, Rate, Url, Secret, Literal["low", "high"]]


@pytest.mark.parametrize("kind", SCALARS, ids=str)
def test_a_value_is_taken_where_the_loader_takes_it(kind: Any) -> None:
    taken = set()
    for text in TEXTS:
        found: list[Any] = []
        read_value(kind, Scalar(text, Place("a"), plain=False), "it", Reader(found, Path(), {}))
        validator = jsonschema.Draft7Validator(value_of(kind, VARIABLE))
        assert validator.is_valid(text) is (not found), f"{text!r}: {[str(each) for each in found]}"
        # Without quotes an editor sees what YAML makes of it: that may be a number or a boolean.
        plain = yaml.safe_load(text) if text else ""
        if not found:
            taken.add(text)
            assert validator.is_valid(plain), f"{text!r} without quotes"
    assert taken
    assert jsonschema.Draft7Validator(value_of(kind, VARIABLE)).is_valid("${OF_THE_ENVIRONMENT:-a}")
    assert not jsonschema.Draft7Validator(value_of(kind, VARIABLE)).is_valid({"a": "b"})
    assert jsonschema.Draft7Validator(value_of(kind, TEMPLATE)).is_valid("{{ subject }}")


def test_secrets_may_stand_in_a_file() -> None:
    validator = jsonschema.Draft7Validator(value_of(Secret, VARIABLE))
    assert validator.is_valid({"file": "secrets/key"})
    assert not validator.is_valid({"path": "secrets/key"})
    assert not validator.is_valid({"file": "a", "more": "b"})


@pytest.mark.parametrize(
    "settings", [config.Server, config.Dispatch, config.LoopBrake, config.Limits, config.DestinationCommon,
                 config.IngressCommon, *(kind.Options for kind in KINDS.values())]
)  # fmt: skip
def test_a_default_is_shown_as_people_write_it(settings: type[Any]) -> None:
    for spec in specs(settings).values():
        schema = setting_of(spec, VARIABLE)
        if "default" not in schema:
            continue
        assert jsonschema.Draft7Validator(schema).is_valid(schema["default"])
        found: list[Any] = []
        node = read(json.dumps(schema["default"]), "a", found)
        assert node is not None
        assert read_value(spec.type, node, spec.name, Reader(found, Path(), {})) == spec.default, spec.name
        assert not found


@pytest.mark.parametrize("text", CONFIG_GOOD + CONFIG_SLIPS)
def test_configurations_are_taken_and_refused_as_the_loader_does(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    told = ""
    try:
        config.load(path, ingress_kinds=INGRESS_KINDS, destination_kinds=KINDS, environ={})
    except InvalidFiles as invalid:
        told = str(invalid)
    assert (told == "") is (text in CONFIG_GOOD), told
    assert (problems(CONFIG, text) == []) is (text in CONFIG_GOOD), problems(CONFIG, text)


def test_each_setting_of_the_configuration_is_in_its_schema() -> None:
    assert set(CONFIG["properties"]) == set(config._SECTIONS)
    for name, kind in KINDS.items():
        known = set(CONFIG["definitions"][f"destination_{name}"]["properties"])
        assert known == {"kind", *specs(kind.Options), *specs(config.DestinationCommon)}
    for name, way in INGRESS_KINDS.items():
        known = set(CONFIG["definitions"][f"ingress_{name}"]["properties"])
        assert known == {"kind", *specs(way.Options), *specs(config.IngressCommon)}
    for section, settings in (("server", config.Server), ("mail", config.MailSemantics), ("limits", config.Limits)):
        assert set(CONFIG["properties"][section]["properties"]) == set(specs(settings))


def test_destinations_are_read_from_a_file_whose_secrets_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "destinations:\n  file:\n  tracker: {kind: redmine, url: 7, api_key: '${NOT_SET_ANYWHERE}'}\n  fax: {}\n"
        "wrong: 1\n",
        encoding="utf-8",
    )
    assert destinations_in(path, KINDS) == {"file": "file", "tracker": "redmine"}
    path.write_text("destinations: {", encoding="utf-8")
    with pytest.raises(InvalidFiles, match="YAML"):
        destinations_in(path, KINDS)


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    done = run_command("schema", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == written(OPEN)
    (tmp_path / "config.yaml").write_text(
        "destinations: {tracker: {kind: redmine, url: https://example.com, api_key: '${NOT_SET_ANYWHERE}'}}",
        encoding="utf-8",
    )
    mine = json.loads(run_command("schema", "rules", cwd=tmp_path).stdout)
    assert problems(mine, action("tracker: {tracker: Bug}")) == []
    assert problems(mine, action("inbox"))
    assert run_command("schema", "--no-config", cwd=tmp_path).stdout == written(OPEN)
    done = run_command("schema", "config", "--output", "schema.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Wrote schema.json.\n"), done.stderr
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == written(CONFIG)


def test_the_command_tells_what_is_wrong(tmp_path: Path) -> None:
    assert run_command("schema", "mail", cwd=tmp_path).returncode == 2
    assert run_command("schema", "--no-config", "--config", "a.yaml", cwd=tmp_path).returncode == 2
    done = run_command("schema", "--config", "a.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "a.yaml:1:1: cannot read it: No such file or directory" in done.stderr
    done = run_command("schema", "--output", "nowhere/schema.json", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot write nowhere/schema.json" in done.stderr


def test_kinds_of_a_plug_in_are_in_the_schemas(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "fax.py").write_text(
        "from dataclasses import dataclass\n"
        "from postroom.integration import Guarantee, Integration, Receipt, setting\n"
        "@dataclass(frozen=True)\nclass O:\n    number: str = setting('whom to call')\n"
        "class Fax(Integration):\n    kind = 'fax'\n    summary = 'Calls.'\n    guarantee = Guarantee.NONE\n"
        "    Options = O\n    Fields = O\n    def deliver(self, job):\n        return Receipt()\n",
        encoding="utf-8",
    )
    (tmp_path / "config.yaml").write_text(
        "plugins_dir: mine\ndestinations: {desk: {kind: fax, number: 7}}\n", encoding="utf-8"
    )
    made = json.loads(run_command("schema", "config", cwd=tmp_path).stdout)
    assert problems(made, "destinations: {a: {kind: fax, number: 7}}") == []
    assert problems(made, "destinations: {a: {kind: fax}}")
    made = json.loads(run_command("schema", cwd=tmp_path).stdout)
    assert problems(made, action("desk: {number: 7}")) == []
    assert problems(made, action("desk: {numbr: 7}"))


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a schema."""
    if isinstance(schema, dict):
        yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _parts(each)
