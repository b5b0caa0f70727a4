"""Runs that were trained, read back: what they say of any data, and as programs that need nothing of Headrace."""
