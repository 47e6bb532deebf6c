"""What the shell needs from outside, as small protocols, each with its in-memory reference."""
