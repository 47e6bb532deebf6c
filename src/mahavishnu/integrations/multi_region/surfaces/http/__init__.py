"""HTTP: the spec's six endpoints on any FastAPI app, and our own server. The only place that knows FastAPI."""
