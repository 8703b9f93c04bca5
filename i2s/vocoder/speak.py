"""From what models say to the wavs and tables of one job: what every command that speaks has in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from i2s import vocoder
from i2s.archive import write_ark
from i2s.audio import write_wav
from i2s.corpus.jobs import parse_job
from i2s.corpus.tables import write_int_table, write_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.u2s.base import Speech
from i2s.vocoder.base import Vocoder


def add_options(options: argparse.ArgumentParser) -> None:
    """The options of a command that speaks: which share of the work, how much at once, and the vocoder."""
    options.add_argument("--job", type=parse_job, default="1/1", metavar="J/N")
    options.add_argument("--batch-size", type=int, default=16, metavar="N", help="utterances synthesised together")
    options.add_argument("--vocoder", default="griffinlim", help="'': none, of a model that makes waveforms itself")
    options.add_argument("--vocoder-weights", type=Path)


def waveforms(speech: Sequence[Speech], to_wav: Vocoder | None) -> list[np.ndarray]:
    """What a batch sounds like: the waveforms of a model that makes them itself, else those of the vocoder.

    Raises UserError if there is neither.
    """
    own = [said.wav for said in speech if said.wav is not None]
    if len(own) == len(speech):
        return own
    if to_wav is None:
        raise UserError("this model draws spectrograms only: name a vocoder to hear them (--vocoder)")
    return to_wav([said.mel for said in speech])


def write_speech(
    out: Path,
    batches: Iterable[tuple[list[str], list[Speech]]],
    features: SpeechFeatureConfig,
    args: argparse.Namespace,
    attention: bool = False,
) -> None:
    """Write, of the job that `args` (of `add_options`) tells, each utterance of the batches (ids, speech):

    out/wav/<id>.wav, out/mel.J.{ark,scp} (the spectrograms), wav.J.scp, failures.J (`id reason`: no end found, or
    attention lost), unit_durations.J where there are any, and attention.J.{ark,scp} (decoder steps x what was attended
    to) if asked for.
    """
    to_wav = vocoder.load(args.vocoder, features, args.vocoder_weights) if args.vocoder else None
    number = args.job[0]
    wavs: dict[str, str] = {}
    durations: dict[str, list[int]] = {}
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        names = ("mel", "attention") if attention else ("mel",)
        archives = {
            name: stack.enter_context(write_ark(out / f"{name}.{number}.ark", out / f"{name}.{number}.scp"))
            for name in names
        }
        for ids, speech in batches:
            for name, said, wav in zip(ids, speech, waveforms(speech, to_wav), strict=True):
                path = out / "wav" / f"{name}.wav"
                write_wav(path, wav, features.sample_rate)
                wavs[name] = str(path)
                archives["mel"](name, said.mel)
                if attention and said.attention is not None:
                    archives["attention"](name, said.attention)
                if said.durations is not None:
                    durations[name] = said.durations
                if not (said.stopped and said.aligned):
                    failures[name] = "no-end" if not said.stopped else "attention-lost"
    write_int_table(out / f"unit_durations.{number}", durations)
    write_table(out / f"failures.{number}", failures)
    write_table(out / f"wav.{number}.scp", wavs)
