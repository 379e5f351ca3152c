"""Workers, each with a backend in a process of its own, and what they do."""
