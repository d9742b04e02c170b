"""Random numbers as a function of (seed, purpose, epoch, batch), never of earlier draws.

Whatever was shuffled, dropped out or decided by a coin can so be made again at any step, whether or
not the steps before it ran in this process.
"""

import hashlib

import numpy as np


def derived_seed(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for one purpose at one position, such as (epoch, batch)."""
    text = ":".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A NumPy generator seeded so."""
    return np.random.Generator(np.random.PCG64(derived_seed(seed, purpose, *position)))
