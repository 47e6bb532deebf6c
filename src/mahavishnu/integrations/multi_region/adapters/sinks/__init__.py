"""Where events go beside the log: log lines and metrics."""
