"""What every room uses: the errors, checks of arguments, and the cutting of secrets out of text."""
