"""Tokens: how they are made, kept and compared, and which role may do what."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from mahavishnu.integrations.multi_region.errors import ForbiddenError, InvalidInputError
from mahavishnu.integrations.multi_region.surfaces.http.auth import (
    Authorizer,
    Caller,
    NotAuthenticatedError,
    Role,
    Tokens,
)
from tests.surfaces.http_served import bearer, in_process, own_server, region, world


def _file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_is_found_by_its_hash_and_is_not_in_the_file(tmp_path: Path) -> None:
    token, line = Tokens.issue("ci", "operator")
    assert token not in line
    tokens = Tokens.load(_file(tmp_path, f"# who may do what\n\n{line}  # the build\n"))
    assert tokens.find(token) == Caller("ci", Role.OPERATOR)
    assert tokens.find(token[:-1]) is None
    assert tokens.find("") is None


def test_no_two_tokens_are_alike_and_each_carries_32_bytes() -> None:
    made = {Tokens.issue("a", Role.VIEWER)[0] for _ in range(50)}
    assert len(made) == 50
    assert {len(token) for token in made} == {43}


@pytest.mark.parametrize("position", [0, 1, 2])
def test_every_entry_is_found_wherever_it_stands(position: int) -> None:
    issued = [Tokens.issue(f"name-{n}", Role.VIEWER) for n in range(3)]
    tokens = Tokens.parse("\n".join(line for _, line in issued))
    assert tokens.find(issued[position][0]) == Caller(f"name-{position}", Role.VIEWER)


@pytest.mark.parametrize(
    "text",
    [
        "ci operator",
        "ci operator sha256:abc",
        "ci operator " + "0" * 64,
        "ci operator sha256:" + "G" * 64,
        "ci root sha256:" + "0" * 64,
        "-ci viewer sha256:" + "0" * 64,
        "ci viewer sha256:" + "0" * 64 + "\nci admin sha256:" + "1" * 64,
    ],
)
def test_a_line_that_is_none_is_refused_by_its_number(text: str) -> None:
    with pytest.raises(InvalidInputError, match=f"file:{text.count(chr(10)) + 1}: "):
        Tokens.parse(text, "file")


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes elsewhere")
@pytest.mark.parametrize(
    ("mode", "fine"), [(0o600, True), (0o640, True), (0o644, False), (0o602, False), (0o660, False)]
)
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int, fine: bool) -> None:
    path = _file(tmp_path, Tokens.issue("ci", Role.ADMIN)[1], mode)
    if fine:
        assert len(Tokens.load(path)) == 1
    else:
        with pytest.raises(InvalidInputError, match="chmod 600"):
            Tokens.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"tokens_file: .*none"):
        Tokens.load(tmp_path / "none")


@pytest.mark.parametrize("name", ["", "two words", "a" * 64, "ä"])
def test_a_name_must_fit_into_the_file(name: str) -> None:
    with pytest.raises(InvalidInputError, match="name: "):
        Tokens.issue(name, Role.ADMIN)


def test_roles_are_ordered() -> None:
    may = [[role.includes(needed) for needed in Role] for role in Role]
    assert may == [[True, False, False], [True, True, False], [True, True, True]]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong", "Bearer \udce4"])
def test_who_shows_no_known_token_is_not_authenticated(header: str | None) -> None:
    _, line = Tokens.issue("ci", Role.ADMIN)
    with pytest.raises(NotAuthenticatedError):
        Authorizer(Tokens.parse(line)).admit(header, Role.VIEWER)


def test_without_tokens_nobody_may_change_anything_and_the_answer_says_how() -> None:
    authorizer = Authorizer(None, open_reads=True)
    assert authorizer.is_open(Role.VIEWER)
    assert not authorizer.is_open(Role.OPERATOR)
    with pytest.raises(ForbiddenError, match="TOKENS_FILE"):
        authorizer.admit("Bearer x", Role.OPERATOR)


WRITES = [
    ("POST", "/regions", Role.OPERATOR),
    ("PUT", "/v1/regions/eu-west-1", Role.OPERATOR),
    ("DELETE", "/v1/regions/eu-west-1", Role.ADMIN),
    ("PUT", "/v1/services/api", Role.ADMIN),
    ("DELETE", "/v1/services/api", Role.ADMIN),
    ("PUT", "/v1/policies/eu", Role.ADMIN),
    ("PUT", "/v1/edges/edge-eu", Role.ADMIN),
    ("DELETE", "/v1/edges/edge-eu", Role.ADMIN),
    ("POST", "/v1/edges/edge-eu/report", Role.OPERATOR),
    ("POST", "/v1/apply", Role.ADMIN),
    ("POST", "/v1/failover", Role.OPERATOR),
    ("POST", "/v1/regions/eu-west-1/drain", Role.OPERATOR),
    ("POST", "/v1/regions/eu-west-1/undrain", Role.OPERATOR),
    ("POST", "/v1/regions/eu-west-1/recover", Role.OPERATOR),
    ("POST", "/v1/freeze", Role.OPERATOR),
    ("POST", "/v1/unfreeze", Role.OPERATOR),
    ("POST", "/v1/observations", Role.OPERATOR),
    ("POST", "/v1/deployments/active-active", Role.OPERATOR),
    ("POST", "/v1/deployments/active-passive", Role.OPERATOR),
    ("POST", "/v1/deployments/blue-green", Role.OPERATOR),
    ("POST", "/v1/deployments/{deployment_id}/rollback", Role.OPERATOR),
    ("POST", "/v1/deployments/{deployment_id}/failback", Role.OPERATOR),
    ("POST", "/v1/elections/api", Role.OPERATOR),
    ("POST", "/v1/data/access", Role.OPERATOR),
    ("POST", "/v1/data/classify", Role.OPERATOR),
    ("POST", "/v1/data/place", Role.OPERATOR),
    ("POST", "/v1/data/transfers", Role.OPERATOR),
]


@pytest.mark.parametrize(("method", "path", "needed"), WRITES)
async def test_each_write_needs_its_role_before_its_body_is_read(method: str, path: str, needed: Role) -> None:
    async with own_server(None) as (client, _):
        nobody = await client.request(method, path, content=b"not json")
        statuses = {role: (await client.request(method, path, headers=bearer(role))).status_code for role in Role}
    assert nobody.status_code == 401
    assert nobody.headers["WWW-Authenticate"] == "Bearer"
    assert {role for role in Role if statuses[role] != 403} == {role for role in Role if role.includes(needed)}


async def test_every_write_of_the_server_is_in_the_table_above() -> None:
    async with own_server(None) as (client, _):
        document = (await client.get("/openapi.json")).json()
    named = {"{region_id}": "eu-west-1", "{name}": "api", "{policy_id}": "eu", "{edge_id}": "edge-eu"}
    writes = [
        (method.upper(), re.sub(r"{\w+}", lambda part: named.get(part[0], part[0]), path))
        for path, operations in document["paths"].items()
        for method in operations
        if method != "get"
    ]
    only_look = {
        ("POST", f"/{path}")
        for path in ("route", "v1/route/batch", "v1/route/explain", "v1/data/replicate", "v1/data/check")
    }
    assert sorted(set(writes) - only_look) == sorted((method, path) for method, path, _ in WRITES)


@pytest.mark.parametrize(("open_reads", "status"), [(True, 200), (False, 401)])
@pytest.mark.parametrize("path", ["/regions", "/stats", "/v1/regions", "/v1/events", "/v1/status", "/metrics"])
async def test_reads_need_a_viewer_unless_they_are_open(path: str, open_reads: bool, status: int) -> None:
    async with own_server(None, open_reads=open_reads) as (client, _):
        assert (await client.get(path)).status_code == status
        assert (await client.get(path, headers=bearer(Role.VIEWER))).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
async def test_who_asks_whether_the_server_lives_needs_no_token(path: str) -> None:
    async with own_server(None, open_reads=False) as (client, _):
        assert (await client.get(path)).status_code == 200


async def test_a_server_without_tokens_refuses_writes_and_says_how_to_allow_them() -> None:
    async with own_server(None, tokens=None) as (client, app):
        refused = await client.post("/regions", json=region("eu-west-1"), headers=bearer(Role.ADMIN))
        assert (await client.get("/regions")).json() == []
        assert not app.state.system.region_manager.regions
    assert refused.status_code == 403
    assert "MAHAVISHNU_MULTI_REGION__TOKENS_FILE" in refused.json()["detail"]


async def test_the_log_names_the_token_and_never_only_whom_the_body_names() -> None:
    async with own_server() as (client, app):
        await client.post("/v1/apply", json=world("eu-west-1", "us-east-1"))
        drained = await client.post("/v1/regions/eu-west-1/drain", json={"reason": "patch", "by": "ann"})
        assert drained.json()["by"] == "ann (admin)"
        async with in_process(app) as anybody:
            events = (await anybody.get("/v1/events")).json()["events"]
    assert {event["actor"] for event in events} == {"admin", "ann (admin)"}
