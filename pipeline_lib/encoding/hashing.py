"""STUB"""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HashInput:
    column: str
    n_buckets: int

    @property
    def cardinality(self):
        return self.n_buckets + 2

    def encode(self, values):
        e = values.combine_chunks().dictionary_encode()
        d = np.array(
            [
                2
                + int.from_bytes(hashlib.blake2b(w.encode(), digest_size=8).digest(), "big")
                % self.n_buckets
                for w in e.dictionary.to_pylist()
            ]
            + [1],
            np.int32,
        )
        return d[e.indices.fill_null(len(d) - 1).to_numpy(zero_copy_only=False)]
