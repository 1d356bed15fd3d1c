"""Access tokens: what one is, what is accepted as one, and the clocks that it lasts by. Nothing here waits."""
