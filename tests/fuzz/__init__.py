"""Fuzzing: whatever a file or an option holds, only our own errors come of it, and soon."""
