"""Checkpoints of training: written whole after every epoch, with the state of early stopping inside."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from i2s.config import load_config
from i2s.errors import UserError
from i2s.files import atomic_path


def check_unfinished(folder: Path, config: Any) -> None:
    """Refuse to go on from the checkpoints of a training with another configuration or other data."""
    if not (folder / "checkpoints/last.ckpt").is_file() or not (folder / "config.yaml").is_file():
        return
    before = load_config(type(config), folder / "config.yaml")
    # These do not change what is learned.
    free = {key: getattr(config, key) for key in ("workers", "cache_gb", "patience") if hasattr(config, key)}
    if replace(before, **free) != config:
        raise UserError(
            f"{folder}: holds the checkpoints of a training with another configuration or other data; "
            f"remove {folder}/checkpoints to begin anew, or choose another folder"
        )


class Checkpoints(Checkpoint):
    """Keeps `best.ckpt` (weights) and `last.ckpt` (all training state) by `dev/score`, and stops early.

    Lightning's own ModelCheckpoint writes its last.ckpt only when the score got better, and forgets the best score
    when the folder was moved; resuming would then repeat epochs or lose the best weights.
    """

    def __init__(self, folder: Path, patience: int):
        self.best, self.last, self.patience = folder / "best.ckpt", folder / "last.ckpt", patience
        self.best_score, self.best_epoch, self.waited = math.inf, -1, 0

    def epochs_done(self) -> int:
        """Epochs that last.ckpt stands for; 0 without one. Raises UserError if it cannot be read."""
        if not self.last.is_file():
            return 0
        try:
            # Memory-mapped: the weights themselves are not read here.
            state = torch.load(self.last, map_location="cpu", weights_only=True, mmap=True)
            return int(state["epoch"]) + 1
        except Exception as e:
            reason = (str(e) or type(e).__name__).splitlines()[0]
            raise UserError(f"{self.last}: cannot be read ({reason}); remove {self.last.parent} to begin anew") from e

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._stop_if_patience_is_over(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        score = trainer.callback_metrics.get("dev/score")
        if score is None:
            return
        if not math.isfinite(score):
            raise UserError(
                f"{self.best.parent.parent}: training diverged: dev score {float(score)} after epoch "
                f"{trainer.current_epoch}; lower lr, raise warmup_steps or set precision=32"
            )
        self.waited += 1
        if score < self.best_score:
            self.best_score, self.best_epoch, self.waited = float(score), trainer.current_epoch, 0
            trainer.save_checkpoint(self.best, weights_only=True)
        trainer.save_checkpoint(self.last)
        self._stop_if_patience_is_over(trainer)

    def _stop_if_patience_is_over(self, trainer: lightning.Trainer) -> None:
        if self.patience and self.waited >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]
        self.best_epoch = state_dict["best_epoch"]
        self.waited = state_dict["waited"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, so that a kill never leaves half of one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        # Through memory, so that a full disk shows as OSError and not as an error inside torch.save.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(path) as tmp:
            tmp.write_bytes(buffer.getbuffer())
