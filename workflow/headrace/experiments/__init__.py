"""The experiment file: its types, read strictly, checked, whole."""
