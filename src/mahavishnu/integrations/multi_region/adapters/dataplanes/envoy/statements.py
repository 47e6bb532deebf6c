"""What a request may say it asks of the law: read whole or not at all.

Each framework once, in any order, in one header line, spelled exactly; whatever else the header holds is refused.
Routes cannot tell that by themselves: Envoy matches each line of a header on its own, so that one would hide another,
and its patterns have to be short. So a request that states anything first meets the route that refuses it. On that
route alone a script reads all lines and writes down in order what they ask, under a name of our own that no client can
use; then the route is looked for again. Were the script to fail, the refusal stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .parts import ASKED, REQUIREMENTS

PRESENT: Mapping[str, Any] = {"name": REQUIREMENTS, "present_match": True}

SCRIPT = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:getNumValues("{REQUIREMENTS}") ~= 1 then return end
  local words = {{}}
  for part in (headers:get("{REQUIREMENTS}") .. ","):gmatch("([^,]*),") do
    local word = part:match("^[ \\t]*([a-z0-9_]+)[ \\t]*$")
    if word == nil then return end
    words[#words + 1] = word
  end
  table.sort(words)
  headers:replace("{ASKED}", table.concat(words, "+"))
  handle:clearRouteCache()
end
"""


def strictest_first(statements: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Statements that ask for something, each once, those that ask for most before others."""
    return tuple(sorted({asked for asked in statements if asked}, key=lambda asked: (-len(asked), asked)))


def matcher(statement: tuple[str, ...]) -> Mapping[str, Any]:
    """The header matcher of requests that make exactly this statement."""
    return {"name": ASKED, "string_match": {"exact": "+".join(sorted(statement))}}
