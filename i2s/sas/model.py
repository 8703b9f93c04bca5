"""Show and Speak (Wang et al. 2021): from an image straight to a log-mel spectrogram, without units in between.

An image is a sequence of vectors: regions with their box, class and confidence, or the positions of a network's last
map. Tacotron 2's decoder (ESPnet's modules) attends to them and draws the spectrogram frame by frame. In training, the
mean of the encoded image is to be near an encoding of the whole true spectrogram: the embedding constraint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from espnet.nets.pytorch_backend.rnn.attentions import AttLoc
from espnet.nets.pytorch_backend.tacotron2.decoder import Decoder, Postnet
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from i2s.errors import UserError
from i2s.features.image import ImageFeatures
from i2s.i2u.base import Dropout, Grid
from i2s.i2u.data import pad_features
from i2s.i2u.search import SearchConfig
from i2s.i2u.transformer import TransformerConfig
from i2s.sas.blocks import BlockDecoder
from i2s.sas.losses import masked_margin_softmax, spectrogram_losses
from i2s.sas.sampling import scheduled_sampling, truth_share
from i2s.train.fit import Module
from i2s.u2s import autoregress
from i2s.u2s.base import Speech, frame_mask

BOX = 5  # numbers of a region's place: x1 y1 x2 y2 and its share of the area
FLAT = 0.99  # of the highest possible entropy: attention that looks everywhere alike


@dataclass(frozen=True)
class SasConfig(autoregress.DecoderConfig):
    """Options; the defaults are the paper's. Training fills the first group in from the data."""

    feature_dim: int = 0  # D of an image's (L, D) features
    grid: tuple[int, ...] = ()  # rows and columns of the L positions; empty: regions
    regions: bool = False  # whether features are of regions, with box, class and confidence
    classes: int = 0  # of regions: ids from 0; others count as unknown
    n_mels: int = 80
    longest: int = 0  # frames of the longest training utterance: where synthesis is cut

    lr: float = 2e-3
    warmup_steps: int = 4000
    schedule: Literal["constant", "cosine", "exponential"] = "exponential"
    weight_decay: float = 0.0

    region_dim: int = 1024  # of the encoding of a region's box, class and confidence
    hidden_dim: int = 1025  # first of the two linear layers over each vector
    memory_dim: int = 512  # second; what the decoder attends to
    positions_2d: bool = False  # learned row and column embeddings, where the features have a grid
    feature_dropout: float = 0.0
    # In place of Tacotron 2's decoder: a Transformer (i2s.sas.blocks). Of that decoder's options it heeds dropout_rate,
    # reduction_factor and the post-net's; it has no use for stop_weight, scheduled sampling and those of synthesis.
    codes: int = 0  # blocks of `reduction_factor` frames that it chooses from; 0: the paper's decoder
    d_model: int = 256
    layers: int = 4
    heads: int = 4
    d_ff: int = 1024
    label_smoothing: float = 0.1

    stop_weight: float = 1.0  # of the one frame that stops, against the others
    constraint_weight: float = 0.25  # of the embedding constraint; 0: none
    embed_dim: int = 512  # of the space that image and speech meet in
    margin: float = 0.001
    sampling_decay: float = 1000.0  # steps; of the inverse sigmoid of scheduled sampling; 0: teacher forcing
    sampling_floor: float = 0.975  # least share of true frames fed back: epsilon; 1: teacher forcing
    max_frames: int = 0  # of a batch, padding included; 0: no bound
    cache_gb: float = 3.0  # image features up to this size are held in memory, as bfloat16
    listen: int = 3  # dev images that are spoken of after every epoch, to be heard in TensorBoard
    # synthesis
    threshold: float = 0.5  # stop probability that ends an utterance
    prenet_seed: int | None = 0  # of the dropout that the pre-net keeps in synthesis; null: no dropout

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.sampling_floor <= 1:
            raise UserError(f"sampling_floor={self.sampling_floor}: a share, from 0 to 1")
        if not 0 <= self.feature_dropout < 1:
            raise UserError(f"feature_dropout={self.feature_dropout}: must be at least 0 and below 1")
        if self.prenet_layers < 1:
            raise UserError(f"prenet_layers={self.prenet_layers}: must be at least 1")
        if self.codes < 0:
            raise UserError(f"codes={self.codes}: must be at least 0")
        if self.codes and self.postnet_layers < 1:
            raise UserError(f"postnet_layers={self.postnet_layers}: must be at least 1 with codes={self.codes}")


class Images(NamedTuple):
    """features: float (I, L, D); mask: (I, L) bool; regions: (I, L, 6) with x1 y1 x2 y2 class confidence, or None."""

    features: Tensor
    mask: Tensor
    regions: Tensor | None

    def to(self, device: torch.device) -> Images:
        regions = None if self.regions is None else self.regions.to(device)
        return Images(self.features.to(device), self.mask.to(device), regions)


class Batch(NamedTuple):
    """Utterances of similar length. Images that several of them describe are held once: `rows` (B,) tells which.

    mels: float32 (B, T, n_mels), padded with zeros; lengths: (B,) frames.
    """

    images: Images
    rows: Tensor
    mels: Tensor
    lengths: Tensor


class RegionEncoder(nn.Module):
    """One linear layer over box, one-hot class and confidence (L, 6); for the class that is a look-up."""

    def __init__(self, classes: int, dim: int):
        super().__init__()
        self.place = nn.Linear(BOX + 1, dim)
        self.kind = nn.Embedding(classes + 1, dim, padding_idx=classes)  # the last one: of no known class
        bound = (BOX + 1 + classes) ** -0.5  # as one layer over all of them begins
        for weight in (self.place.weight, self.place.bias, self.kind.weight[:-1]):
            nn.init.uniform_(weight.detach(), -bound, bound)

    def forward(self, regions: Tensor) -> Tensor:
        box, kind, confidence = regions[..., :4], regions[..., 4].long(), regions[..., 5:]
        area = (box[..., 2:3] - box[..., 0:1]) * (box[..., 3:4] - box[..., 1:2])
        unknown = self.kind.num_embeddings - 1
        kind = torch.where((kind >= 0) & (kind < unknown), kind, unknown)
        return self.place(torch.cat([box, area, confidence], -1)) + self.kind(kind)


class ImageEncoder(nn.Module):
    """Vectors of an image, each by itself: (B, L, D) to memory (B, L, memory_dim)."""

    def __init__(self, config: SasConfig):
        super().__init__()
        self.regions = RegionEncoder(config.classes, config.region_dim) if config.regions else None
        width = config.feature_dim + (config.region_dim if config.regions else 0)
        self.dropout = Dropout(config.feature_dropout)
        self.layers = nn.Sequential(
            nn.Linear(width, config.hidden_dim), nn.ReLU(), nn.Linear(config.hidden_dim, config.memory_dim)
        )
        self.places = Grid(config.grid if config.positions_2d else (), config.memory_dim)

    def forward(self, features: Tensor, regions: Tensor | None) -> Tensor:
        x = self.dropout(features)
        if self.regions is not None:
            if regions is None:
                raise UserError("this model was trained on image regions; extract features of the same kind")
            x = torch.cat([x, self.regions(regions)], -1)
        return self.places.added_to(self.layers(x))


class SpeechEncoder(nn.Module):
    """A whole spectrogram as one vector: convolution, two bidirectional GRU layers, mean over time."""

    def __init__(self, n_mels: int, dim: int):
        super().__init__()
        self.conv = nn.Conv1d(n_mels, 64, 5, stride=2, padding=2)
        self.gru = nn.GRU(64, dim // 2, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, mels: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, n_mels), zero behind their lengths (B,), to (B, dim)."""
        x = F.relu(self.conv(mels.transpose(1, 2))).transpose(1, 2)
        lengths = (lengths + 1) // 2
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        x, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        return mean_over(x, frame_mask(lengths, x.shape[1]))


class ShowAndSpeak(Module):
    """See the module's description. Training sets the buffers, which normalise features and spectrograms.

    `listen`, if set: gives names, waveforms and sample rates that are kept after each validation, to be heard.
    """

    config: SasConfig
    feature_mean: Tensor  # (D,)
    feature_std: Tensor  # ()
    mel_mean: Tensor  # (n_mels,)
    mel_std: Tensor  # (n_mels,)

    def __init__(self, config: SasConfig):
        super().__init__()
        self.config = config
        self.listen: Callable[[], Iterator[tuple[str, np.ndarray, int]]] | None = None
        self.register_buffer("feature_mean", torch.zeros(config.feature_dim))
        self.register_buffer("feature_std", torch.ones(()))
        self.register_buffer("mel_mean", torch.zeros(config.n_mels))
        self.register_buffer("mel_std", torch.ones(config.n_mels))
        self.encoder = ImageEncoder(config)
        self.decoder: BlockDecoder | Decoder = block_decoder(config) if config.codes else tacotron2_decoder(config)
        if config.constraint_weight:
            self.image_embedding = nn.Linear(config.memory_dim, config.embed_dim)
            self.speech_encoder = SpeechEncoder(config.n_mels, config.embed_dim)

    def encode(self, images: Images) -> Tensor:
        """The memory (I, L, memory_dim) of images."""
        return self.encoder((images.features.float() - self.feature_mean) / self.feature_std, images.regions)

    def losses(self, batch: Batch, share: float) -> dict[str, Tensor]:
        """The parts of the loss by name, and their weighted sum `total`. `share` of the frames fed back are true."""
        config = self.config
        images = self.encode(batch.images)
        target = (batch.mels - self.mel_mean) / self.mel_std
        target = target * frame_mask(batch.lengths, target.shape[1])[..., None]
        if isinstance(self.decoder, BlockDecoder):
            losses = self.decoder.losses(images, batch.images.mask, batch.rows, target, batch.lengths)
        else:
            losses = self._tacotron2_losses(images, batch, target, share)
        losses["total"] = torch.stack(list(losses.values())).sum()
        if config.constraint_weight:
            image = self.image_embedding(mean_over(images, batch.images.mask))[batch.rows]
            speech = self.speech_encoder(target, batch.lengths)
            losses["constraint"] = masked_margin_softmax(image, speech, batch.rows, config.margin)
            losses["total"] = losses["total"] + config.constraint_weight * losses["constraint"]
        return losses

    def _tacotron2_losses(self, images: Tensor, batch: Batch, target: Tensor, share: float) -> dict[str, Tensor]:
        memory, mask = images[batch.rows], batch.images.mask[batch.rows]
        # A last step that is not full is left out, as ESPnet does.
        frames = batch.lengths - batch.lengths % self.config.reduction_factor
        with autoregress.masked_postnet(self.decoder.postnet, frames), scheduled_sampling(self.decoder, share):
            after, before, logits, _ = self.decoder(memory, mask.sum(1), target)
        drawn, stop = spectrogram_losses(
            after.float(), before.float(), logits.float(), target[:, : after.shape[1]], frames, self.config.stop_weight
        )
        return {"mel": drawn, "stop": stop}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        share = truth_share(self.global_step, self.config.sampling_decay, self.config.sampling_floor)
        losses = self.losses(batch, share)
        for name, value in losses.items():
            self.log(f"train/{name}", value, batch_size=len(batch.rows))
        self.log("train/truth_share", share)
        return losses["total"]

    def validation_step(self, batch: Batch, _: int) -> None:
        losses = self.losses(batch, 1.0)
        for name, value in losses.items():
            self.log(f"dev/{name}", value, batch_size=len(batch.rows), sync_dist=True)
        # What is drawn chooses the checkpoint: the constraint is no aim of its own, and is over-fitted first.
        score = losses["total"] - self.config.constraint_weight * losses.get("constraint", 0.0)
        self.log("dev/score", score, batch_size=len(batch.rows), prog_bar=True, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        if self.listen is not None and self.trainer.is_global_zero:
            for name, wav, rate in self.listen():
                self.logger.experiment.add_audio(f"dev/{name}", wav, self.global_step, rate)  # type: ignore[union-attr]

    @torch.inference_mode()
    def describe(self, images: Sequence[ImageFeatures], search: SearchConfig | None = None) -> list[Speech]:
        """Speak of a batch of images; each comes out as if it were alone. `search`: how blocks are chosen, where the
        decoder chooses them; without a greatest length it ends at that of the longest training utterance.

        `stopped` is False where no stop was heard within the length of the longest training utterance, `aligned`
        where the attention looked at all of the image alike. Raises UserError for features of another shape than those
        that the model was trained on.
        """
        config = self.config
        for image in images:
            if image.vectors.ndim != 2 or image.vectors.shape[1] != config.feature_dim or not len(image.vectors):
                raise UserError(
                    f"image features have shape {image.vectors.shape}, but the model was trained on "
                    f"{config.feature_dim} columns; extract features of the same kind"
                )
        tensors = [torch.from_numpy(np.array(image.vectors, np.float32)) for image in images]
        regions = [torch.from_numpy(np.array(r, np.float32)) for i in images if (r := i.regions) is not None]
        batch = images_batch(tensors, regions if len(regions) == len(images) else None).to(self.mel_mean.device)
        if isinstance(self.decoder, BlockDecoder):
            search = search or SearchConfig()
            if not search.max_length:
                search = replace(search, max_length=max(search.min_length, config.longest // config.reduction_factor))
            spoken = self.decoder.decode(self.encode(batch), batch.mask, search)
        else:
            options = autoregress.DecodeOptions(config.threshold, longest=config.longest, seed=config.prenet_seed)
            spoken = autoregress.decode(self.decoder, self.encode(batch), batch.mask, options)
        out = []
        for said in spoken:
            mel, attention = (said.frames * self.mel_std + self.mel_mean).cpu().numpy(), said.attention.cpu().numpy()
            out.append(Speech(mel, None, attention, said.stopped, not is_flat(attention)))
        return out


def tacotron2_decoder(config: SasConfig) -> Decoder:
    """ESPnet's, in the sizes of `config`."""
    sizes = config.sizes()
    looks = [sizes.pop(name) for name in ("adim", "aconv_chans", "aconv_filts")]
    attention = AttLoc(config.memory_dim, config.dunits, *looks)
    return Decoder(idim=config.memory_dim, odim=config.n_mels, att=attention, **sizes)


def block_decoder(config: SasConfig) -> BlockDecoder:
    """The Transformer that chooses blocks, in the sizes of `config`."""
    ratio = config.reduction_factor
    chooser = TransformerConfig(
        pieces=config.codes, feature_dim=config.memory_dim, positions_2d=False, d_model=config.d_model,
        layers=config.layers, heads=config.heads, d_ff=config.d_ff, dropout=config.dropout_rate, feature_dropout=0.0,
        label_smoothing=config.label_smoothing,
    )  # fmt: skip
    layers, channels, taps = config.postnet_layers, config.postnet_chans, config.postnet_filts
    postnet = Postnet(0, ratio * config.n_mels, layers, channels, taps, config.dropout_rate)
    return BlockDecoder(config.n_mels, ratio, chooser, postnet)


def is_flat(attention: np.ndarray) -> bool:
    """Whether attention (steps, L) never tells positions apart: its mean entropy is nearly that of a uniform one."""
    if attention.shape[1] < 2:
        return False
    entropy = -(attention * np.log(np.maximum(attention, 1e-12))).sum(1).mean()
    return bool(entropy > FLAT * np.log(attention.shape[1]))


def mean_over(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the positions (B, N) of x (B, N, D) where `mask` is True."""
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def images_batch(features: Sequence[Tensor], regions: Sequence[Tensor] | None) -> Images:
    """Pad the features (L, D) and regions (L, 6) of images. Raises UserError where they do not belong together."""
    padded, mask = pad_features(features)
    for vectors, rows in zip(features, regions or (), strict=regions is not None):
        if rows.shape != (len(vectors), BOX + 1):
            raise UserError(
                f"image regions have shape {tuple(rows.shape)}, expected {(len(vectors), BOX + 1)} as for their "
                "features; extract them again"
            )
    mask = torch.ones(padded.shape[:2], dtype=torch.bool) if mask is None else mask
    return Images(padded, mask, pad_sequence(list(regions), batch_first=True) if regions is not None else None)
