"""PBS in its dialects: OpenPBS, PBS Pro and Torque."""
