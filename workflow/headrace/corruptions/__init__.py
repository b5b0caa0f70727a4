"""One file for every way in which test inputs are made worse; base.py says what each must give."""
