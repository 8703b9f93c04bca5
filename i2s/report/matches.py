"""Which words of a transcript stand in its references, and in how long a run."""

from __future__ import annotations

from collections.abc import Sequence

from i2s.score.text import words

LONGEST = 4  # as in BLEU-4 and CIDEr


def match_orders(said: str, references: Sequence[str]) -> tuple[list[str], list[int]]:
    """The words of `said` as they are scored, and of each the longest matching n-gram that it is part of (0: none).

    An n-gram matches if it stands in any one reference, n at most LONGEST.
    """
    tokens = words(said)
    orders = [0] * len(tokens)
    texts = [words(reference) for reference in references]
    for n in range(1, LONGEST + 1):
        known = {tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)}
        for i in range(len(tokens) - n + 1):
            if tuple(tokens[i : i + n]) in known:
                orders[i : i + n] = [n] * n
    return tokens, orders
