"""The one task that renews a token, its rounds, and those who wait for them."""
