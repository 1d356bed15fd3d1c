"""What is wrong between this machine and the service: found, put into plain words, and shown."""
