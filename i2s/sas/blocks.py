"""A Transformer that draws a spectrogram block by block, each chosen from a codebook.

Of one image people say many things. Where a description could go on in several ways, a decoder trained by squared error
draws their mean, hears that blur as what it said last, and is lost. With a codebook (k-means over the blocks of
`reduction_factor` frames in training) it must choose: the Transformer of image-to-unit models scores the blocks, hears
which one was drawn, and ends by itself; a post-net over blocks then makes one smooth spectrogram of them. The choices
are a quantised latent of one network (as in van den Oord et al. 2017), which still goes from an image straight to a
spectrogram; and because what is heard in training is known beforehand, all its steps are trained at once.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from espnet.nets.pytorch_backend.tacotron2.decoder import Postnet
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from i2s.errors import UserError
from i2s.i2u.base import Batch
from i2s.i2u.search import SearchConfig, best, search
from i2s.i2u.transformer import TransformerConfig, TransformerModel
from i2s.u2s.autoregress import Decoded, masked_postnet
from i2s.u2s.base import frame_mask
from i2s.units.kmeans import cluster

ITERATIONS = 20  # of k-means


class BlockDecoder(nn.Module):
    """Memory of images (I, L, idim) to spectrograms of `odim` channels.

    Training sets the codebook `blocks` (size, ratio * odim), as `learn_blocks` makes it.
    """

    blocks: Tensor

    def __init__(self, odim: int, ratio: int, chooser: TransformerConfig, postnet: Postnet):
        super().__init__()
        self.odim, self.ratio = odim, ratio
        self.chooser = TransformerModel(chooser)
        self.postnet = postnet  # of blocks: ratio * odim channels
        self.register_buffer("blocks", torch.zeros(chooser.pieces, ratio * odim))

    def encode(self, mels: Tensor) -> Tensor:
        """Spectrograms (B, T, odim) to the codes (B, T // ratio) of the blocks nearest to theirs."""
        return torch.cdist(blocks_of(mels, self.ratio).float(), self.blocks[None]).argmin(-1)

    def draw(self, codes: Tensor, steps: Tensor) -> Tensor:
        """Codes (B, S), of which `steps` (B,) count, to spectrograms (B, S * ratio, odim)."""
        blocks = self.blocks[codes].transpose(1, 2)
        with masked_postnet(self.postnet, steps):
            blocks = blocks + self.postnet(blocks)
        return blocks.transpose(1, 2).reshape(len(codes), -1, self.odim)

    def losses(self, memory: Tensor, mask: Tensor, rows: Tensor, target: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Of spectrograms (B, T, odim), `lengths` (B,), of the images `rows` (B,): `code`, the cross-entropy of blocks
        and end, and `mel`, the squared error of what the true codes are drawn as. Frames that fill no block count in
        neither.
        """
        codes, steps = self.encode(target), lengths // self.ratio
        edge = self.chooser.edge
        inside = frame_mask(steps, codes.shape[1])
        targets = F.pad(codes.masked_fill(~inside, -1), (0, 1), value=-1).scatter(1, steps[:, None], edge)
        inputs = F.pad(codes, (1, 0), value=edge)
        logits, _ = self.chooser(Batch(memory, None if mask.all() else mask, rows, inputs, targets))
        smoothing = self.chooser.config.label_smoothing if self.training else 0.0
        code = F.cross_entropy(logits.float(), targets[targets >= 0], label_smoothing=smoothing)
        drawn = self.draw(codes, steps).float()
        inside = frame_mask(steps * self.ratio, drawn.shape[1])
        return {"code": code, "mel": (drawn - target[:, : drawn.shape[1]])[inside].square().mean()}

    @torch.inference_mode()
    def decode(self, memory: Tensor, mask: Tensor, options: SearchConfig) -> list[Decoded]:
        """The best description of each image, memory (B, L, idim) with mask (B, L), that the search finds."""
        found = [best(hypotheses) for hypotheses in search(self.chooser, memory, None if mask.all() else mask, options)]
        codes = [torch.tensor(one.pieces, device=memory.device) for one in found]
        steps = torch.tensor([len(row) for row in codes], device=memory.device)
        drawn = self.draw(pad_sequence(codes, batch_first=True), steps)
        return [
            Decoded(frames[: count * self.ratio], torch.from_numpy(one.attention)[:, :seen], one.finished)
            for frames, count, one, seen in zip(drawn, steps.tolist(), found, mask.sum(1).tolist(), strict=True)
        ]


def blocks_of(mels: Tensor, ratio: int) -> Tensor:
    """Spectrograms (B, T, n_mels) to blocks (B, T // ratio, ratio * n_mels); frames that fill none are left out."""
    steps = mels.shape[1] // ratio
    return mels[:, : steps * ratio].reshape(len(mels), steps, -1)


def learn_blocks(mels: list[Tensor], size: int, ratio: int, seed: int) -> Tensor:
    """k-means over the blocks of spectrograms (T, n_mels): (size, ratio * n_mels). Raises UserError for too few."""
    blocks = torch.cat([blocks_of(mel[None], ratio)[0] for mel in mels]).numpy()
    if len(blocks) < size:
        raise UserError(f"codes={size}: the training set has only {len(blocks)} blocks of {ratio} frames; lower it")
    np.random.default_rng(seed).shuffle(blocks)
    return torch.from_numpy(cluster(blocks, size, ITERATIONS, seed)[0])
