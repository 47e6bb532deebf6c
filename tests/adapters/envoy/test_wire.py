"""Fields that are put together by hand are those that protobuf writes, and naming types needs no protobuf."""

from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, UInt64Value
from hypothesis import given, strategies as st

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.wire import field, varint


@pytest.mark.parametrize("length", [1, 127, 128, 16_383, 16_384, 2_097_152])
def test_a_field_is_its_tag_its_length_and_itself(length: int) -> None:
    body = b"x" * length
    assert field(1, body) == BytesValue(value=body).SerializeToString()
    assert field(15, b"")[:1] == bytes([15 << 3 | 2])


@given(st.integers(1, 2**64 - 1))
def test_a_number_is_written_as_protobuf_writes_it(number: int) -> None:
    assert varint(number) == UInt64Value(value=number).SerializeToString()[1:]


@pytest.mark.slow
def test_what_an_envoy_is_started_with_needs_neither_grpc_nor_protobuf() -> None:
    module = "mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.bootstrap"
    code = f"import sys, {module}; print(sorted(m for m in sys.modules if m.split('.')[0] in ('grpc', 'google')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
