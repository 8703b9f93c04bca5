"""What unit sequences are like: use of the inventory, rate, bits, run lengths, agreement with phones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from i2s.units.bpe import UnitBpe
from i2s.units.runs import collapse, expand


def entropy(counts: np.ndarray) -> float:
    """Entropy of the distribution of `counts`, in bits."""
    p = counts[counts > 0] / max(1, counts.sum())
    return float(-(p * np.log2(p)).sum())


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
    units: Mapping[str, Sequence[int]], durations: Mapping[str, Sequence[int]], phones: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Agreement of units with a phone label a frame, over the utterances of `phones` (id to T labels).

    purity: the share of frames that carry the commonest phone of their unit; phone_purity: the same with the roles
    exchanged; nmi: mutual information over the mean of both entropies; units_per_phone: units begun for each phone.
    """
    names = sorted({p for row in phones.values() for p in row})
    index = {p: i for i, p in enumerate(names)}
    size = 1 + max((max(units[u]) for u in phones), default=0)
    joint = np.zeros((size, len(names)), np.int64)
    begun = segments = 0
    for utterance, labels in phones.items():
        frames = expand(units[utterance], durations[utterance])
        n = min(len(frames), len(labels))
        label = np.array([index[p] for p in labels[:n]], np.int64)
        np.add.at(joint, (frames[:n], label), 1)
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
        "phones": names,
        "joint": joint.tolist(),
    }
