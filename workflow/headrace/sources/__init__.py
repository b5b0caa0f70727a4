"""Where data come from: finding, fetching, hashing and surveying files, and reading them in parts."""
