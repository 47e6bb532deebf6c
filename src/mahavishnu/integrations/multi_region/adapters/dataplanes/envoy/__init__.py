"""Envoy: plans as xDS resources, and the server that ships them."""

import os

# gRPC's own handling of fork would speak up whenever a child process is started; our children never use gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
# Else a peer that speaks no TLS where it should fills our standard error with lines that name neither it nor us.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
