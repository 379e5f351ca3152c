"""What "agree" means: the exact answer, errors, budgets measured on the reference, verdicts."""
