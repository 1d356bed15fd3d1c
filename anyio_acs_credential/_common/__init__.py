"""What every room uses: errors and what led to them, checks of arguments, and the cutting of secrets out of text."""
