from typing import Any
Numbers = Any
RouteBatch = Any
async def route_batch(*a: Any) -> Any: ...
