"""The emulated Entra tenant: its people, what they agreed to, and their tokens."""
