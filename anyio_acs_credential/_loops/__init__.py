"""What belongs to one event loop, one thread and one process, and what runs beside a block and ends with it."""
