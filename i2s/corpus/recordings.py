"""Recordings as people have them, any format and rate, to the wavs of a data directory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from i2s.audio import write_wav
from i2s.errors import UserError
from i2s.progress import in_threads

log = logging.getLogger(__name__)

SHORTEST = 0.1  # seconds; shorter ones hold no description
SILENCE = 1e-4  # peak below which there is nothing to hear (-80 dB)
SHOWN = 5  # problems in one message


@dataclass(frozen=True)
class Source:
    """What a recording was before it was converted."""

    sample_rate: int
    channels: int
    seconds: float


def convert(path: str | Path, target: str | Path, sample_rate: int = 22050) -> Source:
    """Write the recording as a 16-bit mono wav: channels averaged, resampled, not louder than full scale.

    Raises UserError naming `path` for what cannot be read, holds NaN or infinite samples, is silent or too short.
    """
    wav, rate = decode(path)
    source = Source(rate, wav.shape[1], len(wav) / rate)
    if not np.isfinite(wav).all():
        raise UserError(f"{path}: holds NaN or infinite samples; export it again")
    if source.seconds < SHORTEST:
        raise UserError(f"{path}: lasts {source.seconds:.2f} s; too short to describe anything")
    mono = soxr.resample(wav.mean(axis=1), rate, sample_rate)
    peak = float(np.abs(mono).max(initial=0.0))
    if peak < SILENCE:
        raise UserError(f"{path}: is silent; check the microphone, or take it out")
    write_wav(target, mono / max(1.0, peak), sample_rate)
    return source


def convert_all(wavs: Mapping[Path, Path], sample_rate: int) -> tuple[dict[Path, Source], list[str]]:
    """Convert {recording: wav} on all cores. Returns what the recordings were, and what is wrong with others."""
    bad: list[str] = []
    sources = {}

    def one(path: Path) -> Source | UserError:
        try:
            # A wav that is there was made by a run that was stopped later on.
            return (probe(path) if wavs[path].is_file() else None) or convert(path, wavs[path], sample_rate)
        except UserError as e:
            return e

    for path, result in zip(wavs, in_threads(one, wavs, "convert", "recording"), strict=True):
        if isinstance(result, UserError):
            bad.append(str(result))
        else:
            sources[path] = result
    return sources, bad


def report_bad(bad: list[str], on_bad: str, where: Path) -> None:
    """Stop for what is missing or unreadable, or say how much is left out."""
    if not bad:
        return
    shown = bad[:SHOWN]
    if len(bad) > SHOWN:
        shown.append(f"... and {len(bad) - SHOWN} more")
    if on_bad == "error":
        advice = "mend them, or leave them out: --prepare-args '--on-bad skip'"
        raise UserError("\n  ".join([f"{where}: {len(bad)} problem{'s' * (len(bad) > 1)}:", *shown, advice]))
    log.warning("%s: %d left out:\n  %s", where, len(bad), "\n  ".join(shown))


def report_sources(sources: dict[Path, Source], sample_rate: int) -> None:
    """Count what was changed, so that nobody is surprised."""
    rates = Counter(source.sample_rate for source in sources.values())
    stereo = sum(source.channels > 1 for source in sources.values())
    for rate, count in sorted(rates.items()):
        if rate != sample_rate:
            note = "; little is left of such speech above half that" if rate < sample_rate else ""
            log.info("%d recordings resampled from %d to %d Hz%s", count, rate, sample_rate, note)
    if stereo:
        log.info("%d recordings with several channels made mono", stereo)


def probe(path: str | Path) -> Source | None:
    """What a recording is, from its header; None where that takes decoding."""
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError):
        return None
    return Source(info.samplerate, info.channels, info.duration)


def decode(path: str | Path) -> tuple[np.ndarray, int]:
    """Samples as float32 (N, channels) and their rate in Hz. Raises UserError for what cannot be read."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such recording")
    if not path.stat().st_size:
        raise UserError(f"{path}: the recording is an empty file; copy it again")
    try:
        return soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as e:
        reason = getattr(e, "error_string", str(e))
    # libsndfile does not know what most phones record (m4a, 3gp).
    try:
        return _decode_ffmpeg(path)
    except (OSError, ValueError, IndexError) as e:
        raise UserError(f"{path}: cannot read the recording: {reason} {e}; is it damaged or cut short?") from e


def _decode_ffmpeg(path: Path) -> tuple[np.ndarray, int]:
    import av

    av.logging.set_level(av.logging.PANIC)
    blocks = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp")
        for frame in container.decode(stream):
            blocks += [out.to_ndarray() for out in resampler.resample(frame)]
        rate = stream.rate
    if not blocks or not rate:
        raise ValueError("no sound in it")
    return np.concatenate(blocks, axis=1).T.astype(np.float32), rate
