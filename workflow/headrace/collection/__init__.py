"""Finished experiments, read back from the folders of their results: held against each other, and listed together."""
