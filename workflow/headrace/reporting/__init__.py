"""What is made of the findings: the page, the tables, the crate for machines."""
