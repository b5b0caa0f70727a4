"""Whether Headrace can work here, and what to change where it cannot: a file for each group of checks."""
