"""config.yaml: what it takes, and a table of faults, each with its place and its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

import app
from postroom.config import Config
from postroom.problems import InvalidFiles
from tests.instance import ROOT

KEYS = "servers: [{secret_key: a, validation_key: b}]"


def faults(tmp_path: Path, text: str) -> list[str]:
    """The problems of a configuration, without the path before the place."""
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFiles) as caught:
        app.load_config(file)
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def loaded(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return app.load_config(file)[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "1:1: the file must be a mapping of settings"),
        ("just a text", "1:1: the file must be a mapping of settings"),
        ("servr: {}", "1:1: unknown key 'servr'; did you mean 'server'?"),
        ("banana: 1",
         "1:1: unknown key 'banana'; known are server, data_dir, rules_dir, plugins_dir, ingress, destinations"),
        ("server: [1]", "1:9: server must be a mapping of settings"),
        ("server: {listen: nowhere}", "1:9: server: listen must be an address and a port, not 'nowhere'"),
        ("server: {listen: '1.2.3.4:99999'}", "1:9: server: listen must be an address and a port, not '1.2.3.4:99999'"),
        ("server: {lisen: x}", "1:10: server: unknown key 'lisen'; did you mean 'listen'?"),
        ("server: {public_url: ftp://x}",
         "1:22: server: public_url: 'ftp://x' is no URL; write such as https://example.com"),
        ("server: {trusted_proxies: two}", "1:27: server: trusted_proxies: 'two' is no whole number"),
        ("server: {trusted_proxies: -1}", "1:9: server: trusted_proxies must be 0 or more"),
        ("data_dir: [a]", "1:11: data_dir must be the path of a folder"),
        ("data_dir: a\ndata_dir: b", "2:1: the key 'data_dir' stands twice here (first in line 1)"),
        ("dispatch: {workers: 0}", "1:11: dispatch: workers must be at least 1"),
        ("limits: {in_flight: many}", "1:21: limits: in_flight: 'many' is no size; write such as 500kB, 64MB or 1GB"),
        ("limits:\n  min_free: -5", "2:13: limits: min_free: '-5' is no size; write such as 500kB, 64MB or 1GB"),
        ("server:\n\tlisten: x", "2:1: a tab is used to indent; YAML allows only spaces"),
        ("data_dir: *x",
         '1:11: YAML: found undefined alias; a text that begins with * must stand in quotes, such as "*@'),
        ("data_dir: a: b", "1:12: YAML: mapping values are not allowed in this context; a text with"),
        ("server: {listen: x",
         "1:9: YAML: this bracket is not closed, or a comma is missing behind it (did not find expected ',' or '}')"),
        # ways in
        ("ingress: []", "1:10: ingress must be a mapping from names to settings"),
        ("ingress: {a b: {}}", "1:11: ingress: 'a b' is no name; use letters, digits, - and _"),
        ("ingress: {socketlab: {}}",
         "1:11: ingress: 'socketlab': there is no kind 'socketlab'; did you mean 'socketlabs'?"),
        ("ingress: {socketlabs: }", "1:11: ingress 'socketlabs': 'servers' is missing"),
        ("ingress: {socketlabs: {servers: []}}", "1:11: ingress 'socketlabs': 'servers' is empty"),
        ("ingress: {x: {kind: socketlabs, servers: [{secret_key: a}]}}",
         "1:43: ingress 'x': servers: 'validation_key' is missing (the Validation Key that the control panel shows)"),
        ("ingress: {x: {kind: socketlabs, servers: [{secret_key: '', validation_key: b}]}}",
         "1:56: ingress 'x': servers: secret_key is empty"),
        ("ingress: {x: {kind: socketlabs, servers: [{secret_key: '${POSTROOM_UNSET}', validation_key: b}]}}",
         "1:56: the environment variable POSTROOM_UNSET is not set; set it, or write ${POSTROOM_UNSET:-default}"),
        ("ingress: {x: {kind: socketlabs, servers: [{secret_key: {file: nowhere}, validation_key: b}]}}",
         "1:63: ingress 'x': servers: secret_key: cannot read the file 'nowhere': No such file or directory"),
        (f"ingress: {{socketlabs: {{{KEYS}, allow_ip: []}}}}",
         "1:71: ingress 'socketlabs': unknown key 'allow_ip'; did you mean 'allow_ips'?"),
        (f"ingress: {{socketlabs: {{{KEYS}, allow_ips: [300.1.1.1]}}}}",
         "1:11: ingress 'socketlabs': allow_ips: '300.1.1.1' is no address and no network"),
        (f"ingress: {{socketlabs: {{{KEYS}, max_body: 5 apples}}}}",
         "1:81: ingress 'socketlabs': max_body: '5 apples' is no size"),
        # ways out
        ("destinations: {d: 5}", "1:19: destinations: 'd' must be a mapping of settings"),
        ("destinations: {d: {kind: webhok}}",
         "1:26: destinations: 'd': there is no kind 'webhok'; did you mean 'webhook'?"),
        ("destinations: {webhook: }", "1:16: destination 'webhook': 'url' is missing (where to send)"),
        ("destinations: {d: {kind: webhook, url: x}}", "1:40: destination 'd': url: 'x' is no URL"),
        ("destinations: {d: {kind: file, pth: x.log}}",
         "1:32: destination 'd': unknown key 'pth'; did you mean 'path'?"),
        ("destinations: {d: {kind: file, timeout: 5}}",
         "1:41: destination 'd': timeout: '5' is no duration; write such as 500ms, 15s, 5m, 2h or 35d"),
        ("destinations: {d: {kind: file, timeout: 0s}}",
         "1:16: destination 'd': timeout must be between 0 and 600 seconds"),
        ("destinations: {d: {kind: file, concurrency: 0}}", "1:16: destination 'd': concurrency must be at least 1"),
        ("destinations: {d: {kind: file, rate: fast}}",
         "1:38: destination 'd': rate: 'fast' is no rate; write such as 10/s, 100/m or 20/h"),
        ("destinations: {d: {kind: file, rate: 0/s}}", "1:38: destination 'd': rate: '0/s' is no rate"),
        ("destinations: {d: {kind: file, retry: []}}", "1:16: destination 'd': retry must name at least one attempt"),
        ("destinations: {d: {kind: file, retry: [soon]}}", "1:40: destination 'd': retry: 'soon' is no duration"),
        ("destinations: {d: {kind: file, paused: perhaps}}",
         "1:40: destination 'd': paused: 'perhaps' is neither true nor"),
        ("destinations: {d: {kind: file, path: ../x.log}}",
         "1:16: destination 'd': path: '../x.log' leads out of data_dir"),
        ("destinations: {d: {kind: webhook, url: 'http://a', secret: 'whsec_!'}}",
         "1:16: destination 'd': secret: what follows `whsec_` is no base64"),
        # people
        ("dashboard: {users: {ada: {}}}", "1:26: dashboard: users.ada: 'password_hash' is missing"),
        ("dashboard: {users: {ada: {password_hash: x, role: king}}}",
         "1:51: dashboard: users.ada: role: 'king' is none of viewer, operator, editor"),
        ("dashboard: {users: {postroom: {password_hash: x}}}",
         "1:12: dashboard: users: 'postroom' is a name that the audit log uses itself; choose another"),
        ("dashboard: {proxy_login: {}}", "1:26: dashboard: proxy_login: 'from' is missing"),
        ("dashboard: {proxy_login: {from: []}}", "1:26: dashboard: proxy_login: 'from' is empty"),
        ("dashboard: {proxy_login: {from: [proxy.example.com]}}",
         "1:12: dashboard: proxy_login: from: 'proxy.example.com' is no address and no network"),
        ("dashboard: {proxy_login: {from: 127.0.0.1, header: 'Remote User'}}",
         "1:12: dashboard: proxy_login: header: 'Remote User' is no name of a header; use letters, digits and -"),
        # made to hurt
        ("server: &a {listen: *a}", "1:9: nested more than 60 levels deep"),
        ("data_dir: !!python/object/apply:os.system [id]", "1:11: data_dir must be the path of a folder"),
    ],
)  # fmt: skip
def test_a_fault_and_its_sentence(tmp_path: Path, text: str, problem: str) -> None:
    found = faults(tmp_path, text)
    assert any(each.startswith(problem) for each in found), found
    assert len(found) == 1 or "nested" in problem


def test_all_faults_at_once_in_the_order_of_their_places(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "servr: {}\n"
        "limits: {in_flight: x, min_free: y}\n"
        "ingress: {a: {kind: nope}, b: {kind: socketlabs}}\n"
        "destinations:\n"
        "  c: {kind: webhook, url: x, timeout: y}\n"
        "  d: {kind: file, path: /etc/passwd}\n"
        "dispatch: {workers: -1}\n",
    )
    assert [each.partition(": ")[0] for each in found] == [
        "1:1",
        "2:21",
        "2:34",
        "3:21",
        "3:28",
        "5:27",
        "5:39",
        "6:3",
        "7:11",
    ]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"data_dir: caf\xe9"])
def test_a_file_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(InvalidFiles, match=r"config\.yaml:1:1: cannot read it: it is no UTF-8 text"):
        app.load_config(tmp_path / "config.yaml")


def test_no_secret_stands_in_a_problem(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "destinations: {d: {kind: webhook, url: x, secret: whsec_my-Secret!, headers: {Authorization: my-Secret}}}\n"
        "ingress: {socketlabs: {servers: [{secret_key: my-Secret, validation_key: my-Secret, server_id: x}]}}\n",
    )
    assert found and "my-Secret" not in str(found)


def test_an_empty_file_and_empty_sections_have_their_defaults(tmp_path: Path) -> None:
    for text in ("", "server:\nlimits: ~\ningress:\ndestinations: null\ndashboard:\ndata_dir:\n"):
        config = loaded(tmp_path, text)
        assert (config.server.host, config.server.port) == ("127.0.0.1", 8025)
        assert config.server.url == "http://127.0.0.1:8025"
        assert config.data_dir == tmp_path / "data"
        assert config.limits.in_flight == 64_000_000
        assert config.dispatch.workers == 8
        assert not config.ingress and not config.destinations


def test_values_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_TEST_KEY", "from the environment")
    (tmp_path / "key").write_text("from a file\n")
    config = loaded(
        tmp_path,
        "server: {listen: '[::1]:80', public_url: https://mail.example.com/}\n"
        "limits: {in_flight: 1MiB, min_free: 0}\n"
        "ingress: {here: {kind: socketlabs, max_body: 2000, servers: [\n"
        '  {secret_key: "${POSTROOM_TEST_KEY}", validation_key: {file: key}},\n'
        '  {secret_key: "${POSTROOM_UNSET:-a default}", validation_key: 0123, server_id: 7}]}}\n'
        "destinations:\n"
        "  file: {path: deep/out.log, paused: yes, rate: 20/h, timeout: 1.5s, retry: [0s, 500ms, 2h, 1d]}\n"
        "  hook: {kind: webhook, url: http://a.example, secret: [a, b], allow_private: on}\n",
    )
    assert (config.server.host, config.server.port, config.server.url) == ("::1", 80, "https://mail.example.com")
    assert (config.limits.in_flight, config.limits.min_free) == (2**20, 0)
    first, second = config.ingress["here"].options.servers
    assert (first.secret_key, first.validation_key, first.server_id) == ("from the environment", "from a file", None)
    assert (second.secret_key, second.validation_key, second.server_id) == ("a default", "0123", 7)
    assert config.ingress["here"].common.max_body == 2000
    common = config.destinations["file"].common
    assert (config.destinations["file"].kind, common.paused, common.timeout) == ("file", True, 1.5)
    assert common.rate is not None and (common.rate.count, common.rate.seconds) == (20, 3600)
    assert common.retry == [0, 0.5, 7200, 86400]
    assert config.destinations["hook"].options.secret == ["a", "b"]
    assert config.destinations["hook"].common.allow_private is True
    assert "from the environment" not in repr(config) and "a default" not in repr(config)


def test_a_plug_in_adds_a_kind(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    source = (ROOT / "integrations" / "file.py").read_text(encoding="utf-8")
    (folder / "shout.py").write_text(source.replace('kind = "file"', 'kind = "shout"'), encoding="utf-8")
    config = loaded(tmp_path, "plugins_dir: plugins\ndestinations: {d: {kind: shout, path: x.log}, e: {kind: file}}\n")
    assert {name: each.kind for name, each in config.destinations.items()} == {"d": "shout", "e": "file"}
    assert set(app.create_destinations(config, app.load_config(config.path)[1])) == {"d", "e"}
    with pytest.raises(InvalidFiles, match="nowhere:1:1: the folder of integrations does not exist"):
        loaded(tmp_path, "plugins_dir: nowhere\n")


def test_the_example_is_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SOCKETLABS_SECRET_KEY", "SOCKETLABS_VALIDATION_KEY", "OPS_WEBHOOK_SECRET", "ADA_PASSWORD_HASH"):
        monkeypatch.setenv(name, "x" * 24)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "redmine-key").write_text("key")
    config = loaded(tmp_path, (ROOT / "config.example.yaml").read_text(encoding="utf-8"))
    assert set(config.destinations) >= {"tracker", "ops-hook", "archive"}
    assert config.ingress["socketlabs"].common.max_body == 75_000_000
