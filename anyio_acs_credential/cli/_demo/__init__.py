"""The demonstration: the library's main job, on an emulator of the service."""
