"""One file for every model family; base.py says what each must give."""
