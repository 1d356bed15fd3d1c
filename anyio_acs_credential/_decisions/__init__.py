"""When to refresh, how long to back off, which token is held: tables and arithmetic. Nothing here waits."""
