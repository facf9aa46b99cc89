"""What is counted of predictions, and the numbers that follow: protocols and metrics."""
