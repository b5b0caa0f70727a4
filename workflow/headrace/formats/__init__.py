"""Formats of files, each read in parts that any process can read alone; the kinds of datasets choose among them."""
