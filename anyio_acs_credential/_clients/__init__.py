"""The credential as HTTP clients want it."""
