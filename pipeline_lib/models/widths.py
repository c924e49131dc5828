"""How wide an embedding is."""

from pipeline_lib.encoding import N_RESERVED


def embedding_width(cardinality: int, d_max: int = 50) -> int:
    """Return the textbook's width, min(d_max, (n_categories + 1) // 2), at least 1.

    The two reserved codes are no categories and do not widen the embedding.

    >>> [embedding_width(cardinality) for cardinality in (2, 5, 6, 2000)]
    [1, 2, 2, 50]
    """
    n_categories = max(cardinality - N_RESERVED, 1)
    return min(d_max, (n_categories + 1) // 2)
