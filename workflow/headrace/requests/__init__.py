"""What jobs ask for: from the data, from a profile, held against the limits, raised when it was short."""
