"""Which words of a transcript stand in its references, and in how long a run."""

from __future__ import annotations

from collections.abc import Sequence

from i2s.score.text import Tokeniser

LONGEST = 4  # as in BLEU-4 and CIDEr


def match_orders(said: str, references: Sequence[str], tokenise: Tokeniser) -> tuple[list[str], list[int]]:
    """The tokens of `said`, and of each the longest matching n-gram that it is part of (0: none).

    An n-gram matches if it stands in any one reference, n at most LONGEST.
    """
    tokens, *texts = (text.split() for text in tokenise([said, *references]))
    orders = [0] * len(tokens)
    for n in range(1, LONGEST + 1):
        known = {tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)}
        for i in range(len(tokens) - n + 1):
            if tuple(tokens[i : i + n]) in known:
                orders[i : i + n] = [n] * n
    return tokens, orders
