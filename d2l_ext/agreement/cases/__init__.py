"""What is compared: cases, the catalogue of them, and plans of training."""
