"""How much faster stages get with more workers: measured, fitted, and kept beside the results."""
