"""Whether the four frameworks agree: cases, budgets, workers, the training run, the report."""
