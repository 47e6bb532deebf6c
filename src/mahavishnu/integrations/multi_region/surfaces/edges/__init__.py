"""Running edges: those that a controller starts beside itself, and one that runs elsewhere."""
