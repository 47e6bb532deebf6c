"""The command line: asks the server and shows its answers. Decides nothing."""
