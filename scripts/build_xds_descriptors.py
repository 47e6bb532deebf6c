"""Builds the descriptors of Envoy's messages that we speak, from a pinned package, into one file of the package.

A development tool: the built package needs neither this script, nor the package below, nor the network. It is installed
into a throwaway environment, since at run time it would overwrite files of other packages.

Run: python scripts/build_xds_descriptors.py
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SOURCE = "xds-protos==1.85.0"
TARGET = (
    Path(__file__).parent.parent / "src/mahavishnu/integrations/multi_region/adapters/dataplanes/envoy/xds.binpb.gz"
)
ROOTS = [
    "envoy.admin.v3.clusters",
    "envoy.config.bootstrap.v3.bootstrap",
    "envoy.config.cluster.v3.cluster",
    "envoy.config.endpoint.v3.endpoint",
    "envoy.config.listener.v3.listener",
    "envoy.config.route.v3.route",
    "envoy.extensions.access_loggers.file.v3.file",
    "envoy.extensions.access_loggers.stream.v3.stream",
    "envoy.extensions.filters.http.geoip.v3.geoip",
    "envoy.extensions.filters.http.header_mutation.v3.header_mutation",
    "envoy.extensions.filters.http.ip_tagging.v3.ip_tagging",
    "envoy.extensions.filters.http.lua.v3.lua",
    "envoy.extensions.filters.http.rbac.v3.rbac",
    "envoy.extensions.filters.http.router.v3.router",
    "envoy.extensions.filters.http.set_filter_state.v3.set_filter_state",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager",
    "envoy.extensions.geoip_providers.maxmind.v3.maxmind",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation",
    "envoy.extensions.load_balancing_policies.least_request.v3.least_request",
    "envoy.extensions.load_balancing_policies.round_robin.v3.round_robin",
    "envoy.extensions.load_balancing_policies.wrr_locality.v3.wrr_locality",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config",
    "envoy.extensions.transport_sockets.tls.v3.tls",
    "envoy.extensions.upstreams.http.v3.http_protocol_options",
    "envoy.service.discovery.v3.ads",
    "envoy.service.load_stats.v3.lrs",
]

WALK = """
import importlib, sys
from google.protobuf import descriptor_pb2

files = {}

def walk(descriptor):
    if descriptor.name not in files:
        for needed in descriptor.dependencies:
            walk(needed)
        files[descriptor.name] = descriptor

for root in sys.argv[1:]:
    walk(importlib.import_module(root + "_pb2").DESCRIPTOR)
found = descriptor_pb2.FileDescriptorSet()
for descriptor in files.values():
    descriptor.CopyToProto(found.file.add())

# The package is older than the Envoy that we start; what it lacks and we need is added by name and number.
for file in found.file:
    if file.name.endswith("/set_filter_state.proto"):
        config = next(m for m in file.message_type if m.name == "Config")
        if "clear_route_cache" not in [field.name for field in config.field]:
            config.field.add(name="clear_route_cache", number=2, label=1, type=8, json_name="clearRouteCache")

sys.stdout.buffer.write(found.SerializeToString(deterministic=True))
"""


def main() -> None:
    """Write the descriptor set, gzipped without a time stamp, so that equal input gives equal bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = str(Path(scratch, "bin", "python"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", SOURCE], check=True)
        raw = subprocess.run([python, "-c", WALK, *ROOTS], check=True, stdout=subprocess.PIPE).stdout
    TARGET.write_bytes(gzip.compress(raw, 9, mtime=0))
    sys.stdout.write(f"{TARGET.name}: {len(raw):,} bytes, {TARGET.stat().st_size:,} gzipped\n")


if __name__ == "__main__":
    main()
