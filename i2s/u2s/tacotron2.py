"""Unit to speech by ESPnet's Tacotron 2 (Shen et al. 2018), with units as its tokens (Hsu et al. 2020).

Two things are added. The attention is supervised: where the run lengths of the units say that a decoder step speaks
them, there it should look; so it is found in the first epochs and hardly ever lost. And synthesis is batched
(`i2s.u2s.autoregress`). Weights go from and to ESPnet as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from i2s import espnet_model
from i2s.errors import UserError
from i2s.files import write_text
from i2s.train.fit import TrainConfig
from i2s.u2s import autoregress
from i2s.u2s.base import SpectrogramModel, Speech, frame_mask
from i2s.u2s.data import Batch

log = logging.getLogger(__name__)

FIRST_UNIT = 2  # ESPnet's token lists begin with <blank> (padding) and <unk>, and end with <sos/eos>

MAX_BACK = 2  # units that the attention may fall back without being called lost


@dataclass(frozen=True)
class Tacotron2Config(autoregress.DecoderConfig):
    """Sizes as ESPnet names them; the defaults are the paper's."""

    embed_dim: int = 512
    elayers: int = 1
    eunits: int = 512
    econv_layers: int = 3
    econv_chans: int = 512
    econv_filts: int = 5
    reduction_factor: int = 2  # frames a decoder step
    bce_pos_weight: float = 5.0  # of the stop among all the frames that are none
    attention_weight: float = 1.0  # of the supervision of the attention; 0: none
    max_frames: int = 0  # of a batch, padding included; 0: no bound
    init: str = ""  # ESPnet's model file to start from; layers of other shapes begin anew
    # synthesis
    threshold: float = 0.5  # stop probability that ends an utterance
    max_ratio: float = 12.0  # at most so many frames a unit
    attention_window: tuple[int, ...] = ()  # (back, forward): units a step may move; (): free
    prenet_seed: int | None = 0  # of the dropout that the pre-net keeps in synthesis; null: no dropout


class Tacotron2Model(SpectrogramModel):
    """See the module's description. `self.tts` is ESPnet's module: state dict keys are `tts.*`, as in its files."""

    Config = Tacotron2Config
    dev_score = "total"
    config: Tacotron2Config

    def __init__(self, config: Tacotron2Config, size: int, n_mels: int):
        super().__init__(size, n_mels)
        with espnet_model.quiet():
            from espnet2.tts.tacotron2 import Tacotron2

        if len(config.attention_window) not in (0, 2):
            raise UserError(f"attention_window: expected two numbers or none, got {list(config.attention_window)}")
        self.config = config
        self.tts = Tacotron2(idim=size + FIRST_UNIT + 1, odim=n_mels, **espnet_sizes(config))

    @classmethod
    def build(cls, config: TrainConfig, size: int, n_mels: int) -> Self:
        assert isinstance(config, Tacotron2Config)
        return cls(config, size, n_mels)

    def start(self) -> None:
        """Before training: load the weights that `init` names."""
        if self.config.init:
            load_espnet(self, Path(self.config.init))

    def tokens(self, units: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded units (B, U) to ESPnet's tokens (B, U + 1) with the end token, and their lengths."""
        tokens = F.pad((units + FIRST_UNIT) * frame_mask(lengths, units.shape[1]), (0, 1))
        return tokens.scatter(1, lengths[:, None], self.tts.eos), lengths + 1

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """ESPnet's losses of mel and stop, and the divergence of the attention from the known alignment."""
        ratio = self.config.reduction_factor
        tokens, lengths = self.tokens(batch.units, batch.unit_lengths)
        target = (batch.mels - self.mel_mean) / self.mel_std
        target = target * frame_mask(batch.mel_lengths, target.shape[1])[..., None]
        # A last step that is not full is left out, as ESPnet does.
        frames = batch.mel_lengths - batch.mel_lengths % ratio
        memory = autoregress.encode(self.tts.enc, tokens, lengths)
        with autoregress.masked_postnet(self.tts.dec.postnet, frames):
            after, before, logits, attention = self.tts.dec(memory, lengths, target)
        target = target[:, : int(frames.max())]
        stop = (torch.arange(target.shape[1], device=target.device) >= frames[:, None] - 1).to(target.dtype)
        l1, mse, bce = self.tts.taco2_loss(after.float(), before.float(), logits.float(), target, stop, frames)
        aligned = alignment_loss(attention.float(), batch.durations, frames, ratio)
        total = l1 + mse + bce + self.config.attention_weight * aligned
        return {"l1": l1, "mse": mse, "stop": bce, "attention": aligned, "total": total}

    @torch.inference_mode()
    def synthesise(
        self, units: Sequence[Sequence[int]], durations: Sequence[Sequence[int]] | None = None
    ) -> list[Speech]:
        """Speak a batch. It times the units itself: `durations` are checked, and not used. Errors: see UnitToSpeech.

        `stopped` is False where no stop was heard within `max_ratio` frames a unit, `aligned` as of `well_aligned`.
        """
        self.check_units(units, durations)
        config, device = self.config, self.mel_mean.device
        padded = pad_sequence([torch.tensor(u) for u in units], batch_first=True).to(device)
        tokens, lengths = self.tokens(padded, torch.tensor([len(u) for u in units], device=device))
        memory = autoregress.encode(self.tts.enc, tokens, lengths)
        window = (config.attention_window[0], config.attention_window[1]) if config.attention_window else None
        options = autoregress.DecodeOptions(config.threshold, config.max_ratio, window=window, seed=config.prenet_seed)
        out = []
        for said in autoregress.decode(self.tts.dec, memory, frame_mask(lengths), options):
            mel = (said.frames * self.mel_std + self.mel_mean).cpu().numpy()
            attention = said.attention[:, :-1].cpu().numpy()  # without the end token
            out.append(Speech(mel, None, attention, said.stopped, well_aligned(attention, config.reduction_factor)))
        return out

    def export(self, folder: Path) -> None:
        """Write folder/espnet/{config.yaml,model.pth,feats_stats.npz}, which ESPnet's Text2Speech opens.

        Its text is the units as numbers with spaces between. ESPnet wants the path of the statistics as seen from
        where it runs: config.yaml has it as it is from here.
        """
        import yaml

        folder = folder / "espnet"
        folder.mkdir(parents=True, exist_ok=True)
        mean, std = self.mel_mean.cpu().double().numpy(), self.mel_std.cpu().double().numpy()
        # ESPnet keeps sums over frames: those of one frame more give mean and deviation back.
        np.savez(folder / "feats_stats.npz", count=1, sum=mean, sum_square=mean**2 + std**2)
        state = {k: v.detach().cpu() for k, v in self.state_dict().items() if k.startswith("tts.")}
        torch.save({**state, "normalize.mean": self.mel_mean.cpu(), "normalize.std": self.mel_std.cpu()},
                   folder / "model.pth")  # fmt: skip
        config: dict[str, Any] = {
            "token_list": ["<blank>", "<unk>", *map(str, range(self.size)), "<sos/eos>"],
            "token_type": "word", "use_preprocessor": True, "cleaner": None, "g2p": None, "bpemodel": None,
            "non_linguistic_symbols": None, "odim": self.n_mels, "feats_extract": None, "feats_extract_conf": {},
            "normalize": "global_mvn", "normalize_conf": {"stats_file": str(folder / "feats_stats.npz")},
            "tts": "tacotron2", "tts_conf": espnet_sizes(self.config), "model_conf": {},
        }  # fmt: skip
        write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))


def espnet_sizes(config: Tacotron2Config) -> dict[str, Any]:
    """The arguments of ESPnet's Tacotron2."""
    names = ["embed_dim", "elayers", "eunits", "econv_layers", "econv_chans", "econv_filts", "bce_pos_weight"]
    # ESPnet's own guide for the attention is a diagonal; the run lengths tell more.
    return {**config.sizes(), **{name: getattr(config, name) for name in names}, "use_guided_attn_loss": False}


def load_espnet(model: Tacotron2Model, path: Path) -> None:
    """Load ESPnet's model file (`tts.*`) into `model`. Layers that `model` has in another shape stay as they are
    (the embedding of another token list, say) and are logged. Raises UserError if nothing fits.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        raise UserError(f"{path}: cannot be read as an ESPnet model file: {str(e).splitlines()[0]}") from e
    own = model.state_dict()
    theirs = {k: v for k, v in state.items() if k.startswith("tts.") and k in own}
    fits = {k: v for k, v in theirs.items() if v.shape == own[k].shape}
    if not fits:
        raise UserError(f"{path}: holds no Tacotron 2 weights of these sizes (tts.enc..., tts.dec...)")
    model.load_state_dict(fits, strict=False)
    others = sorted(k for k in own if k.startswith("tts.") and k not in fits)
    log.info("%s: loaded %d layers%s", path, len(fits), f"; begun anew: {', '.join(others)}" if others else "")


def expected_attention(durations: torch.Tensor, steps: int, ratio: int) -> torch.Tensor:
    """The part of each decoder step's frames that belongs to each unit: (B, steps, U) from durations in frames (B, U).

    Rows of steps that the utterance has sum to 1.
    """
    ends = durations.cumsum(1)[:, None]
    starts = ends - durations[:, None]
    first = torch.arange(steps, device=durations.device)[None, :, None] * ratio
    return ((torch.minimum(ends, first + ratio) - torch.maximum(starts, first)).clamp(min=0)) / ratio


def alignment_loss(attention: torch.Tensor, durations: torch.Tensor, frames: torch.Tensor, ratio: int) -> torch.Tensor:
    """Mean Kullback-Leibler divergence of attention (B, steps, U + 1) from the expected one, in nats a step.

    frames: spoken frames of each utterance (B,), a multiple of `ratio`.
    """
    expected = F.pad(expected_attention(durations, attention.shape[1], ratio), (0, 1))  # nothing at the end token
    divergence = torch.xlogy(expected, expected) - expected * attention.clamp(min=1e-8).log()
    return divergence.sum(2)[frame_mask(frames // ratio, attention.shape[1])].mean()


def well_aligned(attention: np.ndarray, ratio: int) -> bool:
    """Whether attention (steps, units) goes through the units in order, from the first to the last.

    The unit attended to most may fall back by MAX_BACK units and leap forward by that many and twice the frames of a
    step (runs of one frame are many, and a step of `ratio` frames passes them at once); more is a repetition or a
    skip. The same holds for where it begins and ends.
    """
    path = attention.argmax(1)
    leap = MAX_BACK + 2 * ratio
    moves = np.diff(np.concatenate([[0], path, [attention.shape[1] - 1]]))
    return bool(moves.min() >= -MAX_BACK and moves.max() <= leap)
