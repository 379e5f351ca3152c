"""What makes the book, made the corpus and pins the versions; not in the wheel."""
