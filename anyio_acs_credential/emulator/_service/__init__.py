"""The emulated Communication Services resource: its users, their tokens, and who may call."""
