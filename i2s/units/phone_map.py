"""Phones of one language as phones of another: by rule, and where there is none by the nearest articulation.

A map is a file of the language's phones in IPA, one a line; further columns name phones that become it by rule. Phones
of the recogniser that are not IPA are looked up in conf/phone_maps/arpabet.txt. Distances are panphon's: how many
articulatory features have to change, each weighted by how readily it does (Mortensen et al. 2016, "PanPhon").
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from i2s.corpus.ctm import SILENCE
from i2s.errors import UserError

_MAPS = Path(__file__).parents[2] / "conf/phone_maps"
_ARPABET = _MAPS / "arpabet.txt"


class PhoneMap:
    """Call it with a phone. `path`: a file, or the name of one in conf/phone_maps (de, es ...).

    Raises UserError for a map that is empty, names a phone twice or holds what is no IPA.
    """

    def __init__(self, path: str | Path, ipa: str | Path = _ARPABET):
        self.path = find_map(path)
        lines = read_columns(self.path)
        self.phones = [columns[0] for columns in lines]
        self._known = {SILENCE: SILENCE, **{phone: phone for phone in self.phones}}
        for phone, *sources in lines:
            self._check(phone)
            for source in sources:
                if self._known.setdefault(source, phone) != phone:
                    raise UserError(f"{path}: {source} becomes both {self._known[source]} and {phone}; keep one")
        if not self.phones or len(set(self.phones)) < len(self.phones):
            raise UserError(f"{path}: expected the phones of a language, each on one line of its own")
        self._ipa = {name: phone for name, phone, *_ in read_columns(Path(ipa), least=2)}

    def __call__(self, phone: str) -> str:
        """The phone of this map that `phone` becomes. Raises UserError for one that is no IPA and has no rule."""
        if phone not in self._known:
            spoken = self._ipa.get(phone, phone)
            segments = self._check(spoken)
            if spoken == phone and segments > 1:  # labels like "spn" can be read as IPA, too
                raise UserError(f"{self.path}: {phone} is {segments} phones in IPA; if it is one, add a rule for it")
            distances = [distance().weighted_feature_edit_distance(spoken, known) for known in self.phones]
            self._known[phone] = self.phones[distances.index(min(distances))]
        return self._known[phone]

    def _check(self, phone: str) -> int:
        """How many phones of the International Phonetic Alphabet this is; raises UserError for none."""
        segments = len(distance().fm.word_to_vector_list(phone))
        if not segments:
            raise UserError(f"{self.path}: {phone} is not in the International Phonetic Alphabet; add a rule for it")
        return segments


def find_map(path: str | Path) -> Path:
    """The file `path`, or the one of that name in conf/phone_maps."""
    named = _MAPS / f"{path}.txt"
    return named if named.is_file() else Path(path)


@cache
def distance() -> Any:
    """panphon's distances; reading its table of all phones takes seconds."""
    from panphon.distance import Distance

    return Distance()


def read_columns(path: Path, least: int = 1) -> list[list[str]]:
    """The columns of each line but comments. Raises UserError for a missing file and a line of fewer than `least`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e
    rows = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
    for number, columns in rows:
        if len(columns) < least:
            raise UserError(f"{path}:{number}: expected {least} columns, got {len(columns)}")
    return [columns for _, columns in rows]
