"""The configuration that an edge keeps on disk."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.last_good import in_force, load, save, snapshot_of
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
)

ADMIN = "type.googleapis.com/envoy.admin.v3."


def dump() -> dict[str, Any]:
    cluster = {"@type": CLUSTER, "name": "api", "type": "EDS", "eds_cluster_config": {"service_name": "api"}}
    return {
        "configs": [
            {"@type": ADMIN + "BootstrapConfigDump", "bootstrap": {"node": {"id": "edge"}}},
            {
                "@type": ADMIN + "ClustersConfigDump",
                "static_clusters": [{"cluster": {"@type": CLUSTER, "name": "xds"}}],
                "dynamic_active_clusters": [{"version_info": "1", "cluster": cluster}],
                "dynamic_warming_clusters": [{"cluster": {"@type": CLUSTER, "name": "warming"}}],
            },
            {
                "@type": ADMIN + "ListenersConfigDump",
                "dynamic_listeners": [
                    {"name": "web", "active_state": {"listener": {"@type": LISTENER, "name": "web"}}},
                    {"name": "refused", "error_state": {"details": "no"}},
                ],
            },
            {
                "@type": ADMIN + "RoutesConfigDump",
                "dynamic_route_configs": [{"route_config": {"@type": ROUTES, "name": "web"}}],
            },
            {
                "@type": ADMIN + "EndpointsConfigDump",
                "static_endpoint_configs": [{"endpoint_config": {"@type": ENDPOINTS, "cluster_name": "xds"}}],
                "dynamic_endpoint_configs": [{"endpoint_config": {"@type": ENDPOINTS, "cluster_name": "api"}}],
            },
        ]
    }


def test_only_what_came_over_xds_and_is_in_force_is_kept() -> None:
    kept = [(r["@type"], r.get("name", r.get("cluster_name"))) for r in in_force(dump())]
    assert sorted(kept) == sorted([(CLUSTER, "api"), (ENDPOINTS, "api"), (LISTENER, "web"), (ROUTES, "web")])


def test_what_was_saved_is_what_is_shipped(tmp_path: Path) -> None:
    path = tmp_path / "state" / "edge.json.gz"
    save(path, in_force(dump()))
    loaded = load(path)
    assert loaded is not None and loaded == snapshot_of(in_force(dump()))
    assert {url: sorted(found) for url, found in loaded.resources.items()} == {
        CLUSTER: ["api"],
        ENDPOINTS: ["api"],
        LISTENER: ["web"],
        ROUTES: ["web"],
    }


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "edge.json.gz"
    save(path, in_force(dump()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_or_a_broken_file_is_nothing_to_start_from(tmp_path: Path) -> None:
    assert load(tmp_path / "missing") is None
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x1f\x8b\x08 not gzip at all")
    assert load(broken) is None


def test_a_resource_that_cannot_be_read_any_more_spoils_none_of_the_others() -> None:
    unknown = {"@type": CLUSTER, "name": "newer", "a_field_of_tomorrow": 1}
    kept = snapshot_of((*in_force(dump()), unknown))
    assert sorted(kept.resources[CLUSTER]) == ["api"]
