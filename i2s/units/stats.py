"""What unit sequences are like: use of the inventory, rate, bits, run lengths, agreement with phones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from i2s.corpus.ctm import SILENCE, Interval, frame_symbols
from i2s.units.bpe import UnitBpe
from i2s.units.runs import collapse, expand


def entropy(counts: np.ndarray) -> float:
    """Entropy of the distribution of `counts`, in bits."""
    p = counts[counts > 0] / max(1, counts.sum())
    return float(np.abs((p * np.log2(p)).sum()))  # (not -0.0)


def unit_stats(
    units: Mapping[str, Sequence[int]],
    durations: Mapping[str, Sequence[int]],
    size: int,
    frame_shift: float,
    bpe: UnitBpe | None = None,
) -> dict[str, Any]:
    """Statistics of collapsed units and their durations in frames of `frame_shift` seconds.

    bits_per_second is the bit rate of the ZeroSpeech challenges (Dunbar et al. 2019): units a second times the entropy
    of a unit; durations are not counted. With a BPE, the same for pieces.
    """
    all_units = np.concatenate([np.zeros(0, np.int64), *map(np.asarray, units.values())]).astype(np.int64)
    runs = np.concatenate([np.zeros(0, np.int64), *map(np.asarray, durations.values())]).astype(np.int64)
    seconds = float(runs.sum() * frame_shift)
    counts = np.bincount(all_units, minlength=size)
    stats = {
        "utterances": len(units),
        "seconds": round(seconds, 3),
        "inventory": size,
        "used": int((counts > 0).sum()),
        **_rates(counts, len(units), seconds),
        "mean_run_frames": float(runs.mean()) if len(runs) else 0.0,
        "run_histogram": np.bincount(np.minimum(runs, 20), minlength=21)[1:].tolist(),  # 1 .. 19, 20 and longer
        "counts": counts.tolist(),
    }
    if bpe:
        pieces = np.bincount([p for row in units.values() for p in bpe.encode(list(row))], minlength=bpe.size)
        stats["bpe"] = {
            "inventory": bpe.size,
            "used": int((pieces > 0).sum()),
            **_rates(pieces, len(units), seconds),
        }
    return stats


def _rates(counts: np.ndarray, utterances: int, seconds: float) -> dict[str, float]:
    bits = entropy(counts)
    total = int(counts.sum())
    return {
        "entropy_bits": bits,
        "perplexity": 2**bits,
        "per_utterance": total / max(1, utterances),
        "per_second": total / seconds if seconds else 0.0,
        "bits_per_second": total / seconds * bits if seconds else 0.0,
    }


def phone_stats(
    units: Mapping[str, Sequence[int]],
    durations: Mapping[str, Sequence[int]],
    phones: Mapping[str, Sequence[Interval]],
    frame_shift: float,
) -> dict[str, Any]:
    """Agreement of units with aligned phones, over the utterances of `phones`.

    Of frames: purity, the share that carries the commonest phone of its unit; phone_purity, the same with the roles
    exchanged; nmi, mutual information over the mean of both entropies. units_per_phone: units begun for each phone.
    boundaries: see `boundary_stats`.
    """
    names = sorted({i.symbol for row in phones.values() for i in row} | {SILENCE})
    index = {p: i for i, p in enumerate(names)}
    size = 1 + max((max(units[u]) for u in phones), default=0)
    joint = np.zeros((size, len(names)), np.int64)
    begun = segments = 0
    for utterance, row in phones.items():
        frames = expand(units[utterance], durations[utterance])
        label = np.array([index[p] for p in frame_symbols(row, len(frames), frame_shift)], np.int64)
        np.add.at(joint, (frames, label), 1)
        begun += len(units[utterance])
        segments += len(collapse(label)[0])
    total = max(1, joint.sum())
    h_units, h_phones, h_joint = entropy(joint.sum(1)), entropy(joint.sum(0)), entropy(joint.ravel())
    return {
        "utterances": len(phones),
        "frames": int(joint.sum()),
        "purity": float(joint.max(1, initial=0).sum() / total),
        "phone_purity": float(joint.max(0, initial=0).sum() / total),
        "nmi": 2 * (h_units + h_phones - h_joint) / max(1e-12, h_units + h_phones),
        "units_per_phone": begun / max(1, segments),
        "boundaries": boundary_stats(
            [np.cumsum(durations[u])[:-1] * frame_shift for u in phones],
            [np.array([i.begin for i in row[1:]]) for row in phones.values()],
        ),
        "phones": names,
        "joint": joint.tolist(),
    }


def boundary_stats(
    found: Iterable[np.ndarray], true: Iterable[np.ndarray], tolerance: float = 0.02
) -> dict[str, float]:
    """Precision, recall and F of boundaries (seconds, ascending; one array an utterance, without begin and end).

    A found boundary hits a true one that lies within `tolerance` and that no other has hit; as many are hit as can be.
    r_value: Raesaenen et al. 2009, which does not reward placing too many boundaries.
    """
    hits = total_found = total_true = 0
    for mine, theirs in zip(found, true, strict=True):
        total_found, total_true = total_found + len(mine), total_true + len(theirs)
        i = j = 0
        while i < len(mine) and j < len(theirs):
            apart = mine[i] - theirs[j]
            if abs(apart) <= tolerance + 1e-9:
                hits, i, j = hits + 1, i + 1, j + 1
            elif apart < 0:
                i += 1
            else:
                j += 1
    precision, recall = hits / max(1, total_found), hits / max(1, total_true)
    over = total_found / max(1, total_true) - 1
    r1, r2 = math.hypot(1 - recall, over), (-over + recall - 1) / math.sqrt(2)
    return {
        "precision": precision,
        "recall": recall,
        "f": 2 * precision * recall / max(1e-12, precision + recall),
        "r_value": 1 - (abs(r1) + abs(r2)) / 2,
    }
