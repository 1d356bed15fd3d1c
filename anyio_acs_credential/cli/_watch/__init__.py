"""A live view of a real credential."""
