"""Show and Speak at its paper's size beside its authors' code: frames drawn and training steps a second.

Theirs is fetched beside ours, and given as AUTHORS:
    git clone https://github.com/xinshengwang/Show-and-Speak AUTHORS

Both draw spectrograms of 36 regions an image with random weights, three frames a decoder step, the one number that
theirs can train with; no stop is heard, so both draw equally many. Theirs decodes batches, too: it is shown one image
at a time and with ours' batch, where both do the same arithmetic. A training step is forward, loss, backward and
update on utterances of one length; ours is shown in single precision, as theirs, and as our recipe trains, in bf16.
Each number is the best of --rounds, all sides in turn. Ends with status 1 if ours draws less than 10 times as many
frames a second as theirs one by one, or fewer than theirs with the same batch, or takes fewer training steps in single
precision.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.features.image import ImageFeatures
from i2s.sas.model import Batch, Images, SasConfig, ShowAndSpeak

REGIONS, DIM, CLASSES, MELS, RATIO = 36, 2048, 1601, 80, 3  # RATIO: frames a decoder step
SHARE = 0.975  # of true frames in training
Side = Callable[[], object]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("authors", type=Path, metavar="AUTHORS", help="a clone of the authors' repository")
    options.add_argument("--batch", type=int, default=32, metavar="N")
    options.add_argument("--steps", type=int, default=100, metavar="N", help="decoder steps in synthesis")
    options.add_argument("--train-steps", type=int, default=40, metavar="N", help="decoder steps in training")
    options.add_argument("--rounds", type=int, default=3, metavar="N")
    options.add_argument("--threads", type=int, default=2, metavar="N")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")  # of what PyTorch has come to advise against since theirs was written

    rng = np.random.default_rng(0)
    features = rng.standard_normal((args.batch, REGIONS, DIM), np.float32)
    places = np.sort(rng.random((args.batch, REGIONS, 2, 2), np.float32), 2).reshape(args.batch, REGIONS, 4)
    kinds = rng.integers(0, CLASSES, (args.batch, REGIONS, 1)).astype(np.float32)
    regions = np.concatenate([places, kinds, rng.random((args.batch, REGIONS, 1), np.float32)], 2)
    mels = rng.standard_normal((args.batch, args.train_steps * RATIO, MELS), np.float32)

    torch.manual_seed(0)
    ours, theirs = Ours(features, regions, mels, args.steps), Theirs(args.authors, features, regions, mels, args.steps)
    print(f"threads               {torch.get_num_threads()}")
    print(f"parameters            ours {millions(ours.model)}, theirs {millions(theirs.model)} million")
    everyone = slice(0, args.batch)
    together, alone, drawn = (
        1 / seconds
        for seconds in best(
            args.rounds, lambda: theirs.draw(everyone), lambda: theirs.draw(slice(0, 1)), lambda: ours.draw(everyone)
        )
    )
    frames = args.steps * RATIO
    print(f"\nsynthesis of {frames} frames an image, in frames/s")
    print(f"theirs, one by one    {alone * frames:8.1f}")
    print(f"theirs, batch of {args.batch:<4} {together * frames * args.batch:8.1f}")
    print(f"ours, batch of {args.batch:<6} {drawn * frames * args.batch:8.1f}")
    print(f"ratio                 {drawn / together:8.2f}   one by one {drawn * args.batch / alone:.1f}")

    learned, single, mixed = (
        1 / seconds for seconds in best(args.rounds, theirs.learn, ours.learn, lambda: ours.learn(mixed=True))
    )
    print(f"\ntraining on {args.batch} utterances of {args.train_steps * RATIO} frames, in steps/s")
    print(f"theirs                {learned:8.3f}")
    print(f"ours                  {single:8.3f}")
    print(f"ours, bf16            {mixed:8.3f}")
    print(f"ratio                 {single / learned:8.2f}   bf16 {mixed / learned:.2f}")
    if drawn * args.batch < 10 * alone or drawn < together or single < learned:
        sys.exit(
            "expected: 10 times the frames a second of one by one, as many as the same batch, as many training steps"
        )


def best(rounds: int, *sides: Side) -> list[float]:
    """The seconds of each side's quickest run, after one to warm up; the sides take turns."""
    seconds = [float("inf")] * len(sides)
    for number in range(rounds + 1):
        for i, side in enumerate(sides):
            began = time.perf_counter()
            side()
            if number:
                seconds[i] = min(seconds[i], time.perf_counter() - began)
    return seconds


def millions(model: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}"


class Ours:
    def __init__(self, features: np.ndarray, regions: np.ndarray, mels: np.ndarray, steps: int):
        self.images = [ImageFeatures(*image) for image in zip(features, regions, strict=True)]
        batch, frames = mels.shape[:2]
        mask = torch.ones(batch, REGIONS, dtype=torch.bool)
        images = Images(torch.from_numpy(features), mask, torch.from_numpy(regions))
        self.batch = Batch(images, torch.arange(batch), torch.from_numpy(mels), torch.full((batch,), frames))
        config = SasConfig(  # where theirs has another size than its paper, it is theirs
            feature_dim=DIM, regions=True, classes=CLASSES, hidden_dim=1024, adim=256, reduction_factor=RATIO,
            longest=steps * RATIO, threshold=2.0,
        )  # fmt: skip
        self.model = ShowAndSpeak(config)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-5)

    def draw(self, which: slice) -> None:
        self.model.eval()
        self.model.describe(self.images[which])

    def learn(self, mixed: bool = False) -> None:
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = self.model.losses(self.batch, SHARE)["total"]
        update(self.model, self.optimizer, loss)


class Theirs:
    """On a CPU, where it was written for a GPU: its `cuda()` stays where it is."""

    def __init__(self, folder: Path, features: np.ndarray, regions: np.ndarray, mels: np.ndarray, steps: int):
        if not (folder / "model" / "model.py").is_file():
            raise UserError(f"{folder}: no clone of the authors' repository; git clone it as --help tells")
        sys.path.insert(0, str(folder))
        hparams = importlib.import_module("hparams").hparams
        hparams.is_cuda = False
        assert hparams.n_frames_per_step == RATIO
        module = importlib.import_module("model.model")
        settings = Namespace(img_format="BU", gamma1=0.5)  # its defaults
        self.model, self.loss = module.I2SModel(settings), module.I2SLoss(settings)
        self.model.decoder.max_decoder_steps, self.model.decoder.gate_threshold = steps, 2.0
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-5)

        self.features = torch.from_numpy(features)
        boxes, kinds, scores = torch.from_numpy(regions).split([4, 1, 1], -1)
        areas = (boxes[..., 2:3] - boxes[..., :1]) * (boxes[..., 3:] - boxes[..., 1:2])
        one_hot = torch.nn.functional.one_hot(kinds[..., 0].long(), CLASSES)
        self.regions = torch.cat([boxes, areas, scores, one_hot], -1)
        self.mels = torch.from_numpy(mels).transpose(1, 2).contiguous()
        self.stop = torch.zeros(self.mels.shape[0], self.mels.shape[2])
        self.stop[:, -1] = 1

    @staticmethod
    @contextlib.contextmanager
    def _on_cpu() -> Any:
        with (
            mock.patch.object(torch.Tensor, "cuda", lambda tensor, *_, **__: tensor),
            contextlib.redirect_stdout(io.StringIO()),  # that it took all its steps
        ):
            yield

    def draw(self, which: slice) -> None:
        self.model.eval()
        with torch.no_grad(), self._on_cpu():
            mels = self.model.inference(self.features[which], self.regions[which])[1]
        assert mels.shape[2] == self.model.decoder.max_decoder_steps * RATIO

    def learn(self) -> None:
        self.model.train()
        lengths = torch.full((len(self.mels),), self.mels.shape[2])
        inputs = (self.features, self.regions, torch.full_like(lengths, REGIONS), self.mels, lengths)
        with self._on_cpu():
            loss, _ = self.loss(self.model(inputs, 1 - SHARE), (self.mels, self.stop), 0)
            update(self.model, self.optimizer, loss)


def update(model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step of training from its loss."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


if __name__ == "__main__":
    run(main)
