"""Charts, tables and words of a report, from results as plain data."""
