"""The hashes of `data.hashing` in plain integers, written after their sources."""

import hashlib

BITS = 2**64 - 1


def splitmix64(state: int) -> int:
    """Return the output that follows a state; written after Steele, Lea & Flood 2014, figure 17."""
    z = (state + 0x9E3779B97F4A7C15) & BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & BITS
    return z ^ (z >> 31)


def blake(word: str) -> int:
    """Return BLAKE2b of a word, 8 bytes read big-endian."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
