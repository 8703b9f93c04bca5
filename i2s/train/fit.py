"""Training with Lightning, shared by every model: precision, schedule, early stop, checkpoints, exact resume."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from i2s.errors import UserError
from i2s.precision import bf16_is_faster
from i2s.train.checkpoints import AtomicCheckpointIO, Checkpoints
from i2s.train.progress import Progress

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
    precision: Literal["auto", "32", "bf16"] = "auto"  # auto: bf16 (mixed with 32) where it is the faster
    accumulate: int = 1  # batches added up to one optimiser step
    workers: int = 0  # data loading processes
    accelerator: Literal["auto", "gpu"] = "auto"  # auto: GPUs where there are any, else the CPU
    devices: int = 1  # GPUs a node (or processes, without a GPU)
    nodes: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "devices", "nodes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        for name in ("seed", "warmup_steps", "weight_decay", "grad_clip", "patience", "workers"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name)}: must not be negative")
        if not self.lr > 0:
            raise UserError(f"lr={self.lr}: must be positive")


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
        groups = [g for g in groups if g["params"]]
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


def fit(module: Module, train: DataLoader, dev: DataLoader, folder: str | Path) -> Path:
    """Train until `config.epochs` or early stop, resuming from `folder/checkpoints/last.ckpt` if it is there.

    `module` logs `dev/score` in validation (lower is better). `last.ckpt`, written after every epoch, holds the whole
    training state: a run that is killed and started again ends in the same weights as one that is not (on the same
    machine; the data set itself must draw no random numbers). `best.ckpt` holds the weights of the epoch with the
    best `dev/score`; its path is returned. TensorBoard events go to `folder/tensorboard`.

    Seed before building `module`, so that its initial weights depend on the seed alone.
    Raises UserError when training diverges (the score is not finite), a checkpoint cannot be read, or `config` asks for
    more GPUs than there are.
    """
    config = module.config
    gpus = torch.cuda.device_count()
    if config.accelerator == "gpu" and gpus < config.devices:
        raise UserError(f"--ngpu {config.devices}: CUDA finds {gpus} GPUs here; --ngpu 0 takes one or the CPU")
    folder = Path(folder)
    quieten_lightning()
    device = "cuda" if torch.cuda.is_available() else "cpu"  # as Lightning chooses
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    mixed = config.precision == "bf16" or (config.precision == "auto" and bf16_is_faster(device))
    checkpoints = Checkpoints(folder / "checkpoints", config.patience)
    seeds = _SeedEachEpoch(config.seed, train, first=checkpoints.epochs_done())
    trainer = lightning.Trainer(
        default_root_dir=folder, max_epochs=config.epochs,
        precision="bf16-mixed" if mixed else "32-true",
        gradient_clip_val=config.grad_clip or None, accumulate_grad_batches=config.accumulate,
        accelerator=config.accelerator, devices=config.devices, num_nodes=config.nodes,
        logger=TensorBoardLogger(folder, name="tensorboard", version=""),
        callbacks=[seeds, LearningRateMonitor("step"), Progress(), checkpoints], plugins=[AtomicCheckpointIO()],
        num_sanity_val_steps=0, log_every_n_steps=10, use_distributed_sampler=False, enable_model_summary=False,
        enable_progress_bar=False, enable_checkpointing=True,
    )  # fmt: skip
    resume = checkpoints.last if checkpoints.last.is_file() else None
    if resume:
        log.info("%s: going on after %d epochs", folder, checkpoints.epochs_done())
    trainer.fit(module, train, dev, ckpt_path=resume, weights_only=True)
    if not checkpoints.best.is_file():
        raise UserError(f"{folder}: training made no checkpoint; is the dev set empty?")
    return checkpoints.best


def load_weights(module: torch.nn.Module, checkpoint: str | Path) -> None:
    """Load the weights of a checkpoint into `module`, in evaluation mode. Raises UserError if they do not fit."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(state.get("state_dict", state))
    except FileNotFoundError:
        raise UserError(f"{checkpoint}: no such checkpoint") from None
    except Exception as e:
        reason = (str(e) or type(e).__name__).splitlines()[0]
        raise UserError(f"{checkpoint}: cannot be loaded: {reason}") from e
    module.eval()


def quieten_lightning() -> None:
    """Keep Lightning's advice (number of workers, tips, hardware table) out of a recipe's log."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    # Raised from torch's own files while Lightning calls them; nothing in a recipe can change it.
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")


class _SeedEachEpoch(Callback):
    """Ties all randomness to (seed, epoch, process), so that a run resumed at an epoch equals an undisturbed one.

    It also tells the batch sampler the epoch: Lightning does that for a sampler, but not for a batch sampler. The
    first epoch's loader is started by Lightning before any hook, hence `first`; later ones start after the hook.
    """

    def __init__(self, seed: int, train: DataLoader, first: int):
        self.seed, self.train = seed, train
        self._loader_at(first)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epoch = trainer.current_epoch
        lightning.seed_everything(self._number(epoch, trainer.global_rank), verbose=False)
        self._loader_at(epoch)

    def _loader_at(self, epoch: int) -> None:
        # A generator of its own: else starting the loader would draw from the numbers that dropout uses.
        self.train.generator = torch.Generator().manual_seed(self._number(epoch))
        for sampler in (self.train.batch_sampler, self.train.sampler):
            if callable(set_epoch := getattr(sampler, "set_epoch", None)):
                set_epoch(epoch)

    def _number(self, epoch: int, rank: int = 0) -> int:
        return ((self.seed * 100003 + epoch) * 1009 + rank) % (1 << 32)
