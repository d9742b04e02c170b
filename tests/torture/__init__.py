"""Tries to lose a training: kills, stops, damaged files, disks that fail (`make torture`)."""

import os

# Before torch is there: commands are forked, which a process with more threads cannot do.
os.environ["OMP_NUM_THREADS"] = "1"
