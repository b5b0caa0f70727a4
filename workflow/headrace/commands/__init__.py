"""One file for every command of `headrace`, or for a few that belong together; each says `register(add)`."""
