"""The emulated Entra tenant: its people, what they agreed to, and the tokens that they get for it."""
