"""Progress of training: one bar over all epochs, and a line of results after each."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from i2s.progress import track

log = logging.getLogger(__name__)


class Progress(Callback):
    """Shows steps done of all epochs, with the time left as measured so far, validation included.

    With early stopping the time shown is the longest that training can take.
    """

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._started = 0.0
        self._loss = (0.0, 0)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero or trainer.should_stop:
            return
        batches = int(trainer.num_training_batches)
        total, done = batches * (trainer.max_epochs or 1), batches * trainer.current_epoch
        self._bar = track(None, "training", total=total, unit="batch", initial=done)
        self._bar.smoothing = 0  # the mean rate of this run: a moving one would leave validation out

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started, self._loss = time.monotonic(), (0.0, 0)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is None:
            return
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is not None:
            self._loss = (self._loss[0] + loss.detach(), self._loss[1] + 1)  # no wait for a GPU here
        if self._bar.update():
            self._bar.set_postfix_str(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._bar is None:
            return
        total, count = self._loss
        score = trainer.callback_metrics.get("dev/score")
        dev = "" if score is None else f", dev score {float(score):.4f}"
        seconds = time.monotonic() - self._started
        with tqdm.external_write_mode(file=sys.stderr):  # lifts the bar of a terminal out of the way
            log.info(
                "epoch %d/%d: train loss %.4f%s, %.0f s",
                trainer.current_epoch + 1, trainer.max_epochs, float(total) / max(1, count), dev, seconds,
            )  # fmt: skip

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
