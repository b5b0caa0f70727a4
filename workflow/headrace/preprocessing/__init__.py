"""One file for every kind of preprocessing step; base.py says what each must give."""
