"""Units to speech on a CPU: Clustergen beside the fast model with Griffin-Lim, on the same units.

Both speak the units of a split from the models of a finished run (./run.sh; ./run.sh --stage 8 --u2s clustergen), in
batches, durations predicted; loading is not counted. Ends with status 1 if Clustergen is under 20 times real time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

from i2s import u2s, vocoder
from i2s.cli import parser, run
from i2s.config import from_dict
from i2s.corpus.tables import evenly, read_int_table
from i2s.features.speech import SpeechFeatureConfig
from i2s.modeldir import load_manifest
from i2s.u2s.base import UnitToSpeech
from i2s.vocoder.base import Vocoder
from i2s.vocoder.speak import waveforms


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--clustergen", type=Path, default=Path("exp/u2s_clustergen"), metavar="U2S_DIR")
    options.add_argument("--fast", type=Path, default=Path("exp/u2s_fast"), metavar="U2S_DIR")
    options.add_argument("--units", type=Path, default=Path("exp/units_kmeans200/test/units"), metavar="TABLE")
    options.add_argument("--utterances", type=int, default=64, metavar="N")
    options.add_argument("--batch", type=int, default=16, metavar="N", help="utterances spoken together")
    args = options.parse_args()

    table = read_int_table(args.units)
    units = [table[name] for name in evenly(table, args.utterances)]
    ours, fast = u2s.load(args.clustergen), u2s.load(args.fast)
    features = from_dict(SpeechFeatureConfig, load_manifest(args.fast, "u2s")["features"], str(args.fast))
    griffinlim = vocoder.load("griffinlim", features)

    def speak(model: UnitToSpeech, to_wav: Vocoder | None) -> tuple[float, float, float]:
        """Seconds of speech; seconds that they took, by the clock and of all cores together."""
        waveforms(model.synthesise(units[:2]), to_wav)  # warm up
        began, cpu = time.perf_counter(), time.process_time()
        wavs: list[np.ndarray] = []
        for at in range(0, len(units), args.batch):
            wavs += waveforms(model.synthesise(units[at : at + args.batch]), to_wav)
        took = time.perf_counter() - began, time.process_time() - cpu
        return sum(map(len, wavs)) / features.sample_rate, *took

    rates = {}
    print(f"threads, batch        {torch.get_num_threads()}, {args.batch}")
    for name, model, to_wav in (("fast, Griffin-Lim", fast, griffinlim), ("Clustergen, WORLD", ours, None)):
        seconds, wall, cpu = speak(model, to_wav)
        rates[name] = seconds / wall
        print(
            f"{name:<21} {seconds / wall:8.1f} times real time   ({seconds:.0f} s of speech in {wall:.1f} s; "
            f"{cpu:.1f} s of a core)"
        )
    theirs, own = rates.values()
    print(f"ratio                 {own / theirs:8.1f}")
    if own < 20:
        sys.exit("expected: at least 20 times real time")


if __name__ == "__main__":
    run(main)
