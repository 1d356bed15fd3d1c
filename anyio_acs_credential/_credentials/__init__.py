"""What programs hold, inject and ask: one credential, or one for each of many users."""
