"""The report of a comparison: in the terminal, as JSON, as a page."""
