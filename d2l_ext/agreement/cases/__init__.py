"""What is compared: cases, the catalogue of them, the jobs drawn from them, plans of training."""
