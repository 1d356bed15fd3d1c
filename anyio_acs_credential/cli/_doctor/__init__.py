"""The examination of the way from this machine to the service: what is wrong, in plain words."""
