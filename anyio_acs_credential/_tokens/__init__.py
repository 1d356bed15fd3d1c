"""Access tokens: what one is, what is accepted as one, and the clocks that measure its life. Nothing here waits."""
