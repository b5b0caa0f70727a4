"""One file for every kind of Dask cluster; base.py says what each must give."""
