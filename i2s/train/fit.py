"""Training with Lightning, shared by every model: precision, schedule, early stop, checkpoints, exact resume."""

from __future__ import annotations

import logging
import math
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from i2s.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Options every model's training takes. Model configurations inherit from it."""

    seed: int = 0
    epochs: int = 20
    batch_size: int = 32
    lr: float = 1e-3  # peak learning rate, reached after warm-up
    warmup_steps: int = 200
    schedule: Literal["constant", "cosine", "exponential"] = "cosine"
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    patience: int = 0  # epochs without a better dev score before stopping; 0: never stop early
    precision: Literal["32", "bf16"] = "bf16"
    accumulate: int = 1  # batches added up to one optimiser step
    workers: int = 0  # data loading processes
    devices: int = 1  # GPUs a node (or processes, without a GPU)
    nodes: int = 1


class Module(lightning.LightningModule):
    """Base of all models: AdamW, warm-up, then the chosen decay. Sub-classes give the steps and log `dev/score`."""

    config: TrainConfig

    def configure_optimizers(self) -> Any:
        """AdamW with decoupled weight decay on matrices only (Loshchilov and Hutter 2019)."""
        matrices = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.config.lr, betas=(0.9, 0.98))
        total = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(self.config, step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def lr_factor(config: TrainConfig, step: int, total: int) -> float:
    """Learning rate at `step` of `total`, relative to the peak: linear warm-up, then decay to 1 % of the peak."""
    warmup = min(config.warmup_steps, max(1, total // 2))
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    if config.schedule == "cosine":
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "exponential":
        return 0.01**done
    return 1.0


class _SeedEachEpoch(Callback):
    """Ties all randomness to (seed, epoch), so that a run resumed at an epoch equals one never interrupted."""

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        lightning.seed_everything(self.seed * 100003 + trainer.current_epoch, verbose=False)


def fit(module: Module, train: DataLoader, dev: DataLoader, folder: str | Path) -> Path:
    """Train until `config.epochs` or early stop, resuming from `folder/checkpoints/last.ckpt` if it is there.

    `module` logs `dev/score` in validation (lower is better). Checkpoints hold weights and training state; the
    best by `dev/score` is returned as a path (also after a resume). TensorBoard events go to `folder/tensorboard`.
    """
    config = module.config
    folder = Path(folder)
    quieten_lightning()
    checkpoints = ModelCheckpoint(
        folder / "checkpoints", filename="best", monitor="dev/score", mode="min", save_last=True, save_top_k=1,
        enable_version_counter=False, save_weights_only=False,
    )  # fmt: skip
    callbacks: list[Callback] = [checkpoints, _SeedEachEpoch(config.seed), LearningRateMonitor("step")]
    if config.patience:
        callbacks.append(EarlyStopping("dev/score", patience=config.patience, mode="min"))
    callbacks.append(TQDMProgressBar(refresh_rate=1 if sys.stderr.isatty() else 50))
    trainer = lightning.Trainer(
        default_root_dir=folder, max_epochs=config.epochs,
        precision={"bf16": "bf16-mixed", "32": "32-true"}[config.precision],
        gradient_clip_val=config.grad_clip or None, accumulate_grad_batches=config.accumulate, devices=config.devices,
        num_nodes=config.nodes, logger=TensorBoardLogger(folder, name="tensorboard", version=""), callbacks=callbacks,
        num_sanity_val_steps=0, log_every_n_steps=10, use_distributed_sampler=False, enable_model_summary=False,
    )  # fmt: skip
    last = folder / "checkpoints" / "last.ckpt"
    if last.is_file():
        log.info("%s: going on from %s", folder, last)
    trainer.fit(module, train, dev, ckpt_path=last if last.is_file() else None, weights_only=True)
    if not checkpoints.best_model_path:
        raise UserError(f"{folder}: training made no checkpoint; is the dev set empty?")
    return Path(checkpoints.best_model_path)


def load_weights(module: torch.nn.Module, checkpoint: str | Path) -> None:
    """Load the weights of a checkpoint into `module`, in evaluation mode. Raises UserError if they do not fit."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(state.get("state_dict", state))
    except FileNotFoundError:
        raise UserError(f"{checkpoint}: no such checkpoint") from None
    except Exception as e:
        raise UserError(f"{checkpoint}: cannot be loaded: {str(e).splitlines()[0]}") from e
    module.eval()


def quieten_lightning() -> None:
    """Keep Lightning's advice (number of workers, tips, hardware table) out of a recipe's log."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
