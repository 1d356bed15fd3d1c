"""One bounded request: its deadline, its size, its retries, and what an answer means."""
