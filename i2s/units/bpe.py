"""BPE over unit sequences (sentencepiece): frequent runs of units become one piece, which shortens sequences."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from i2s.errors import UserError
from i2s.files import atomic_path, write_text

# sentencepiece works on text, so unit u is written as the u-th CJK ideograph: none of them is a space, a digit or
# anything else that it treats in a special way.
_FIRST, _LAST = 0x4E00, 0x9FFF
MAX_UNITS = _LAST - _FIRST + 1


class UnitBpe:
    """Pieces 0 .. size-1 over units 0 .. num_units-1. Every unit is a piece, so nothing is ever unknown."""

    def __init__(self, model: bytes, num_units: int):
        self._model = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.num_units = num_units
        # Piece 0 of sentencepiece is its mandatory "unknown"; ours begin after it.
        self.size: int = self._model.get_piece_size() - 1
        pieces = [self._model.id_to_piece(i + 1) for i in range(self.size)]
        self._units = [[ord(c) - _FIRST for c in piece] for piece in pieces]
        if {u[0] for u in self._units if len(u) == 1} != set(range(num_units)):
            raise UserError(f"the BPE is not one over {num_units} units; train the units again")

    @classmethod
    def load(cls, path: str | Path, num_units: int) -> UnitBpe:
        """Read a model file. Raises UserError if it is missing, damaged or of another inventory."""
        try:
            return cls(Path(path).read_bytes(), num_units)
        except (OSError, RuntimeError, UserError) as e:
            raise UserError(f"{path}: cannot be used: {e}") from e

    @classmethod
    def train(
        cls, sequences: Iterable[Sequence[int]], num_units: int, size: int, path: str | Path, max_piece: int = 64
    ) -> UnitBpe:
        """Learn at most `size` pieces of at most `max_piece` units from collapsed sequences; write the model to `path`.

        Fewer pieces result where the sequences hold no more pairs to merge. The sequences pass through a file beside
        `path`. Raises UserError if `size` is too small to hold every unit.
        """
        path = Path(path)
        if num_units > MAX_UNITS:
            raise UserError(f"BPE works for up to {MAX_UNITS} units, not {num_units}; use --unit-bpe 0")
        if size < num_units:
            raise UserError(f"--unit-bpe {size}: must be at least the number of units, {num_units}")
        corpus = path.with_name(f".{path.stem}.corpus")
        try:
            # Each unit on a line of its own too: the trainer keeps only characters that it has seen.
            lines = [*map(to_text, sequences), *(to_text([unit]) for unit in range(num_units))]
            write_text(corpus, "\n".join(lines) + "\n")
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                input=str(corpus), model_writer=model, model_type="bpe", vocab_size=size + 1, hard_vocab_limit=False,
                character_coverage=1.0, normalization_rule_name="identity", add_dummy_prefix=False,
                remove_extra_whitespaces=False, split_by_unicode_script=False, split_by_whitespace=False,
                split_by_number=False, max_sentencepiece_length=max_piece, max_sentence_length=1 << 30,
                unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1, num_threads=1, minloglevel=2,
            )  # fmt: skip
        finally:
            corpus.unlink(missing_ok=True)
        with atomic_path(path) as tmp:
            tmp.write_bytes(model.getvalue())
        return cls(model.getvalue(), num_units)

    def encode(self, units: Sequence[int]) -> list[int]:
        """Units to pieces. Raises UserError for a unit outside the inventory."""
        if len(units) and not (min(units) >= 0 and max(units) < self.num_units):
            raise UserError(f"a unit is outside 0 .. {self.num_units - 1}: these units are of another inventory")
        return [piece - 1 for piece in self._model.encode(to_text(units), out_type=int)]

    def decode(self, pieces: Sequence[int]) -> list[int]:
        """Pieces to units. `decode(encode(units)) == units`; other pieces may put equal units side by side."""
        if len(pieces) and not (min(pieces) >= 0 and max(pieces) < self.size):
            raise UserError(f"a piece is outside 0 .. {self.size - 1}: these pieces are of another BPE")
        return [unit for piece in pieces for unit in self._units[piece]]


def to_text(units: Iterable[int]) -> str:
    """One character a unit."""
    return "".join(chr(_FIRST + u) for u in units)
