"""The demo: real regions as processes on this machine, clients in eight cities, one failure, and a report on it."""
