"""What the report is made of: one file a section, each with a template of its name."""
