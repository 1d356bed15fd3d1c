"""Access tokens: what one is, how a refresher's result becomes one, what a source of them is, and clocks. No I/O."""
