"""How the router decides: the compiled table, what it is made of, batches, and what a decision tells."""
