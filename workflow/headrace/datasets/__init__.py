"""One file for every kind of dataset; base.py says what each must give."""
