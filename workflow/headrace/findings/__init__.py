"""What an experiment found out, gathered from its artifacts as plain data."""
