"""One bounded request: its deadline, its size cap, its retries, and what an answer means."""
