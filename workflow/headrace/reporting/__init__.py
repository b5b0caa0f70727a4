"""What an experiment found out: gathered, as tables, as one page."""
