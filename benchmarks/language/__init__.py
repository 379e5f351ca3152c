"""A language model of one size: ours, and one by those who know its framework best."""
