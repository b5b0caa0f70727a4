"""One folder for every batch scheduler; base.py says what each is asked and how it answers."""
