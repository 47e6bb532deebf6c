"""Every variable: its default, a good value, a bad value; and the page that lists them."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from mahavishnu.integrations.multi_region.core.model import HealthCheck, SafetyLimits
from mahavishnu.integrations.multi_region.core.targets import TargetRules
from mahavishnu.integrations.multi_region.errors import SettingsError
from mahavishnu.integrations.multi_region.settings import (
    PREFIX,
    LogFormat,
    LogLevel,
    Settings,
    load_settings,
    runtime_dir,
    state_dir,
    unknown_variables,
    variables,
)

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

WEBHOOK = "a URL that begins with http:// or https://, together with EXECUTOR_SECRET and without EXECUTOR_COMMAND"
SECRETS = ("TOKEN", "EXECUTOR_SECRET")

# variable, default, a good text and what it means, a bad text, what is allowed
CASES: list[tuple[str, Any, str, Any, str, str]] = [
    ("HEALTH_CHECK_INTERVAL", 30.0, "0.25", 0.25, "0", "a number from 0.01 up to 86400 (s)"),
    ("HEALTH_CHECK_TIMEOUT", 5.0, "0.2", 0.2, "inf", "a number from 0.001 up to 86400 (s)"),
    ("HEALTH_CHECK_FALL", 2, "4", 4, "1.5", "a whole number from 1 up to 1000 (probes)"),
    ("HEALTH_CHECK_RISE", 3, "1", 1, "0", "a whole number from 1 up to 1000 (probes)"),
    ("HOLD_DOWN", 10.0, "0", 0.0, "-1", "a number from 0 up to 86400 (s)"),
    ("CIRCUIT_BREAKER_THRESHOLD", 5, "7", 7, "many", "a whole number from 1 up to 1000 (requests)"),
    ("FAILOVER_TIMEOUT", 1.0, "2.5", 2.5, "nan", "a number from 0.01 up to 3600 (s)"),
    ("DRAIN_TIMEOUT", 2.0, "30", 30.0, "-0.1", "a number from 0 up to 86400 (s)"),
    ("HOT_DATA_THRESHOLD", 10.0, "0.5", 0.5, "hot", "a number from 0 upwards (accesses/day)"),
    ("MIN_SERVING", 1, "2", 2, "0", "a whole number from 1 up to 1000 (regions)"),
    ("MAX_REMOVED", 0.5, "1", 1.0, "1.01", "a number from 0 up to 1 (share)"),
    ("SAFETY_WINDOW", 60.0, "120", 120.0, "0", "a number from 0.1 up to 86400 (s)"),
    ("HEADROOM", 0.1, "0", 0.0, "1", "a number from 0 to below 1 (share)"),
    ("BLIND_SHARE", 0.5, "1", 1.0, "0", "a number above 0 up to 1 (share)"),
    (
        "STORE",
        None,
        "sqlite:///data/fleet.db",
        "data/fleet.db",
        "postgres://db",
        "memory, a path, or sqlite:/// followed by a path",
    ),
    ("TOKENS_FILE", None, "tokens.json", Path("tokens.json"), "", ""),
    ("GEOIP_DATABASE", None, "places.mmdb", Path("places.mmdb"), "", ""),
    (
        "XDS",
        None,
        "[::1]:18000",
        "[::1]:18000",
        "18000",
        "HOST:PORT, an IPv6 address in brackets, a port from 0 to 65535",
    ),
    ("XDS_CERTIFICATE", None, "server.pem", Path("server.pem"), "", ""),
    ("XDS_KEY", None, "server-key.pem", Path("server-key.pem"), "", ""),
    ("XDS_CLIENT_CA", None, "edges-ca.pem", Path("edges-ca.pem"), "", ""),
    (
        "XDS_PEERS",
        None,
        "10.0.0.1:18000, b.example.test:18000",
        "10.0.0.1:18000,b.example.test:18000",
        "10.0.0.1:0",
        "HOST:PORT, an IPv6 address in brackets, a port from 1 to 65535; several separated by commas",
    ),
    ("EDGES_HERE", False, "true", True, "perhaps", "true or false"),
    ("ENVOY", None, "/opt/envoy", Path("/opt/envoy"), "", ""),
    (
        "LISTEN",
        "127.0.0.1:8000",
        "[::1]:0",
        "[::1]:0",
        "localhost",
        "HOST:PORT, an IPv6 address in brackets, a port from 0 to 65535",
    ),
    ("WORKERS", 0, "4", 4, "-1", "a whole number from 0 up to 256 (processes)"),
    ("LOG_LEVEL", LogLevel.INFO, "DEBUG", LogLevel.DEBUG, "loud", "one of: debug, info, warning, error"),
    ("LOG_FORMAT", LogFormat.CONSOLE, "json", LogFormat.JSON, "xml", "one of: console, json"),
    ("TRACE_SAMPLE", 0.0, "0.001", 0.001, "2", "a number from 0 up to 1 (share)"),
    ("ALLOW_LINK_LOCAL_PROBES", False, "true", True, "perhaps", "true or false"),
    (
        "SERVER",
        "http://127.0.0.1:8000",
        "https://control.example.test/",
        "https://control.example.test",
        "ftp://x",
        "a URL that begins with http:// or https://",
    ),
    ("TOKEN", None, "abc.DEF-123", SecretStr("abc.DEF-123"), "two words", "printable ASCII without blanks"),
    (
        "EXECUTOR_COMMAND",
        None,
        "deploy --to 'two words'",
        "deploy --to 'two words'",
        "deploy 'unclosed",
        "a command and its arguments as one would write them in a shell, which does not read them",
    ),
    ("EXECUTOR_SECRET", None, "0123456789abcdef", SecretStr("0123456789abcdef"), "too short", "at least 16 bytes"),
    ("EXECUTOR_WEBHOOK", None, "", None, "https://deploy.example.test", WEBHOOK),  # alone it is not allowed
]


def test_every_variable_has_its_case() -> None:
    assert [PREFIX + case[0] for case in CASES] == [variable.name for variable in variables()]


@pytest.mark.parametrize(("name", "default"), [case[:2] for case in CASES])
def test_default(name: str, default: object) -> None:
    assert getattr(load_settings({}), name.lower()) == default


@pytest.mark.parametrize(("name", "text", "value"), [(case[0], case[2], case[3]) for case in CASES if case[2]])
def test_good_value_changes_that_field_alone(name: str, text: str, value: object) -> None:
    settings = load_settings({PREFIX + name: text})
    assert getattr(settings, name.lower()) == value
    changed = {field for field, now in settings if now != getattr(load_settings({}), field)}
    assert changed == {name.lower()}


@pytest.mark.parametrize(("name", "text", "allowed"), [(case[0], case[4], case[5]) for case in CASES if case[4]])
def test_bad_value_is_refused_by_name_value_and_what_is_allowed(name: str, text: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({PREFIX + name: text})
    shown = "***" if name in SECRETS else text
    assert (refused.value.field, refused.value.value, refused.value.allowed) == (PREFIX + name, shown, allowed)


@pytest.mark.parametrize(
    "listen",
    [
        ":8000",
        "a:",
        "a:65536",
        "a:-1",
        "a:+1",
        "::1:80",
        "[]:80",
        "[::1]",
        "a b:80",
        "http://a:80",
        "a:\uff18\uff10",
        "[a]:80",
    ],
)
def test_listen_must_be_a_host_and_a_port(listen: str) -> None:
    with pytest.raises(SettingsError):
        load_settings({PREFIX + "LISTEN": listen})


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("0.0.0.0:80", "0.0.0.0", 80), ("[::1]:8443", "::1", 8443), ("localhost:0", "localhost", 0)],
)
def test_listen_is_taken_apart(listen: str, host: str, port: int) -> None:
    settings = load_settings({PREFIX + "LISTEN": listen})
    assert (settings.listen_host, settings.listen_port) == (host, port)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("memory", None),
        ("fleet.db", "fleet.db"),
        ("sqlite:///fleet.db", "fleet.db"),
        ("sqlite:////var/f.db", "/var/f.db"),
        ("sqlite:///memory", "memory"),
    ],
)
def test_store_is_the_path_of_a_file_or_memory(text: str, path: str | None) -> None:
    settings = load_settings({PREFIX + "STORE": text})
    assert settings.store == path
    assert settings.store_path == (None if path is None else Path(path))


@pytest.mark.parametrize("store", ["sqlite:///", "sqlite://fleet.db", "etcd://a,b"])
def test_a_store_of_another_kind_is_refused(store: str) -> None:
    with pytest.raises(SettingsError):
        load_settings({PREFIX + "STORE": store})


def test_names_are_read_in_any_case() -> None:
    assert load_settings({(PREFIX + "failover_timeout").lower(): "3"}).failover_timeout == 3.0


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings({PREFIX + "LISTEN": "", PREFIX + "TOKEN": ""}) == load_settings({})


def test_the_process_environment_is_read_when_no_other_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "FAILOVER_TIMEOUT", "4")
    assert load_settings().failover_timeout == 4.0
    assert load_settings({}).failover_timeout == 1.0


def test_a_token_is_shown_nowhere() -> None:
    settings = load_settings({PREFIX + "TOKEN": "secret-token"})
    assert "secret-token" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.token is not None
    assert settings.token.get_secret_value() == "secret-token"
    bad = " ".join(["another", "secret"])  # so that the traceback does not quote it from this line
    with pytest.raises(SettingsError) as refused:
        load_settings({PREFIX + "TOKEN": bad})
    assert bad not in "".join(traceback.format_exception(refused.value))


def test_a_command_is_taken_apart_as_a_shell_would() -> None:
    settings = load_settings({PREFIX + "EXECUTOR_COMMAND": "deploy --to 'two words' $HOME"})
    assert settings.executor_argv == ("deploy", "--to", "two words", "$HOME")
    assert load_settings({}).executor_argv is None


def test_a_webhook_needs_a_secret_and_no_command_beside_it() -> None:
    both = {"EXECUTOR_WEBHOOK": "https://deploy.example.test/hook", "EXECUTOR_SECRET": "0123456789abcdef"}
    settings = load_settings({PREFIX + name: text for name, text in both.items()})
    assert settings.executor_webhook == both["EXECUTOR_WEBHOOK"]
    for wrong in ({"EXECUTOR_SECRET": ""}, {"EXECUTOR_COMMAND": "deploy"}, {"EXECUTOR_WEBHOOK": "ftp://x"}):
        with pytest.raises(SettingsError) as refused:
            load_settings({PREFIX + name: text for name, text in {**both, **wrong}.items()})
        assert (refused.value.field, refused.value.allowed) == (PREFIX + "EXECUTOR_WEBHOOK", WEBHOOK)


def test_an_executor_secret_is_shown_nowhere() -> None:
    settings = load_settings({PREFIX + "EXECUTOR_SECRET": "0123456789abcdef"})
    assert "0123456789abcdef" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_are_frozen_and_know_no_other_names() -> None:
    settings = load_settings({})
    with pytest.raises(ValidationError):
        settings.failover_timeout = 2.0  # type: ignore[misc]  # read-only is what this shows
    with pytest.raises(ValidationError):
        Settings.model_validate({"failover_time": 2.0})


def test_an_unknown_variable_is_found_with_the_nearest_known_name() -> None:
    environ = {
        PREFIX + "FAILOVER_TIMOUT": "1",
        PREFIX + "FAILOVER_TIMEOUT": "1",
        PREFIX + "QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ": "1",
        "HOME": "/",
    }
    assert unknown_variables(environ) == [
        (PREFIX + "FAILOVER_TIMOUT", PREFIX + "FAILOVER_TIMEOUT"),
        (PREFIX + "QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ", None),
    ]


def test_settings_become_the_values_that_the_shell_takes() -> None:
    texts = {"HEALTH_CHECK_FALL": "4", "HOLD_DOWN": "7", "MAX_REMOVED": "0.25", "ALLOW_LINK_LOCAL_PROBES": "1"}
    settings = load_settings({PREFIX + name: text for name, text in texts.items()})
    assert settings.health_check() == HealthCheck(fall=4, hold_down_s=7.0)
    assert settings.safety_limits() == SafetyLimits(max_removed=0.25)
    assert settings.target_rules() == TargetRules(allow_link_local=True)


def test_the_defaults_are_those_of_the_core() -> None:
    settings = load_settings({})
    assert settings.health_check() == HealthCheck()
    assert settings.safety_limits() == SafetyLimits()
    assert settings.target_rules() == TargetRules()


def test_the_page_lists_every_variable_as_it_is() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line.startswith(f"| `{PREFIX}")]
    listed = [tuple(cell.strip() for cell in row) for row in rows]
    assert listed == [
        (f"`{v.name}`", f"`{v.default}`" if v.default else "none", v.allowed, v.description) for v in variables()
    ]


def test_options_come_before_the_environment_and_defaults_after_it() -> None:
    environ = {PREFIX + "LISTEN": "127.0.0.1:1", PREFIX + "STORE": "kept.db"}
    settings = load_settings(
        environ, options={"listen": "127.0.0.1:2"}, defaults={"store": "other.db", "log_level": "debug"}
    )
    assert (settings.listen, settings.store, settings.log_level.value) == ("127.0.0.1:2", "kept.db", "debug")


def test_an_option_that_is_not_allowed_is_refused_as_its_variable_is() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({}, options={"listen": "nowhere"})
    assert (caught.value.field, caught.value.value) == (PREFIX + "LISTEN", "nowhere")


@pytest.mark.parametrize(
    ("environ", "state", "runtime"),
    [
        ({}, "/home/me/.local/state/multi-region", "/home/me/.local/state/multi-region"),
        ({"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}, "/s/multi-region", "/r/multi-region"),
        ({"XDG_STATE_HOME": "/s"}, "/s/multi-region", "/s/multi-region"),
        (
            {"XDG_STATE_HOME": "s", "XDG_RUNTIME_DIR": "r"},
            "/home/me/.local/state/multi-region",
            "/home/me/.local/state/multi-region",
        ),
    ],
)
def test_a_users_own_directories(environ: dict[str, str], state: str, runtime: str) -> None:
    own = {"HOME": "/home/me", **environ}
    assert (str(state_dir(own)), str(runtime_dir(own))) == (state, runtime)
