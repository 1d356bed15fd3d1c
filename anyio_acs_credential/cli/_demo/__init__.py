"""The demonstration: the main job, on an emulator of the service."""
