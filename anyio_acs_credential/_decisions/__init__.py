"""When to renew, how long to wait, what is held: tables and arithmetic. Nothing here waits."""
