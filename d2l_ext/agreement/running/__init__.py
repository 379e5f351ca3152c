"""Jobs, and the workers that do them: each backend in a process of its own."""
