"""Show and Speak: its equations, its training, its decoder against ESPnet's, its files."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from i2s import sas
from i2s.archive import Matrices, write_ark
from i2s.bin import show_and_speak, train_sas, vocode
from i2s.config import to_dict
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.features.image import ImageFeatures
from i2s.features.speech import SpeechFeatureConfig
from i2s.i2u.search import SearchConfig
from i2s.sas.blocks import blocks_of, learn_blocks
from i2s.sas.data import SpokenImages
from i2s.sas.losses import masked_margin_softmax, spectrogram_losses
from i2s.sas.model import (
    Batch,
    Images,
    RegionEncoder,
    SasConfig,
    ShowAndSpeak,
    SpeechEncoder,
    images_batch,
    is_flat,
)  # fmt: skip
from i2s.sas.sampling import scheduled_sampling, truth_share
from i2s.u2s import autoregress

MELS, DIM, CLASSES = 10, 6, 4
TINY = SasConfig(
    feature_dim=DIM, regions=True, classes=CLASSES, n_mels=MELS, longest=12, region_dim=5, hidden_dim=9, memory_dim=8,
    adim=8, aconv_chans=4, aconv_filts=2, dunits=16, prenet_units=8, postnet_layers=3, postnet_chans=8, embed_dim=6,
    batch_size=4, epochs=1, warmup_steps=2, precision="32",
)  # fmt: skip


def speaker(**overrides: Any) -> ShowAndSpeak:
    """A small model with random weights: batch norm statistics as after training."""
    torch.manual_seed(0)
    model = ShowAndSpeak(replace(TINY, **overrides))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_()
    model.feature_mean, model.mel_mean, model.mel_std = torch.randn(DIM), torch.randn(MELS), torch.rand(MELS) + 0.5
    return model.eval()


def no_dropout(model: ShowAndSpeak) -> ShowAndSpeak:
    """The pre-net's dropout stays on in evaluation: off, for comparisons."""
    model.decoder.prenet.dropout_rate = 0.0
    return model


def image(positions: int, seed: int = 0) -> ImageFeatures:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.random((positions, 2, 2)), axis=1).reshape(positions, 4)
    kinds, scores = rng.integers(-1, CLASSES, (positions, 1)), rng.random((positions, 1))
    vectors = rng.normal(size=(positions, DIM))
    return ImageFeatures(vectors.astype(np.float32), np.hstack([corners, kinds, scores]).astype(np.float32))


IMAGES = [image(5, 1), image(3, 2), image(1, 3)]


def batch(lengths: list[int], rows: list[int], images: list[ImageFeatures] = IMAGES) -> Batch:
    mels = [torch.randn(n, MELS, generator=torch.Generator().manual_seed(n)) for n in lengths]
    regions = [torch.from_numpy(i.regions) for i in images]
    return Batch(
        images_batch([torch.from_numpy(i.vectors) for i in images], regions), torch.tensor(rows),
        torch.nn.utils.rnn.pad_sequence(mels, batch_first=True), torch.tensor(lengths),
    )  # fmt: skip


# the image


def test_regions_are_encoded_by_one_linear_layer_over_box_class_and_confidence() -> None:
    encoder = RegionEncoder(CLASSES, 7)
    weight = torch.cat([encoder.place.weight[:, :5], encoder.kind.weight[:CLASSES].T, encoder.place.weight[:, 5:]], 1)
    for (x1, y1, x2, y2, kind, score), found in zip(
        torch.from_numpy(image(20).regions), encoder(torch.from_numpy(image(20).regions)), strict=True
    ):
        one_hot = [float(kind == c) for c in range(CLASSES)]  # all 0 for a region without class
        p = torch.tensor([x1, y1, x2, y2, (x2 - x1) * (y2 - y1), *one_hot, score])
        torch.testing.assert_close(found, weight @ p + encoder.place.bias)
    assert weight.abs().max() <= weight.shape[1] ** -0.5 < 2 * weight.abs().max()
    unseen = torch.tensor([[0.1, 0.1, 0.5, 0.5, CLASSES + 3, 0.5], [0.1, 0.1, 0.5, 0.5, -1, 0.5]])
    torch.testing.assert_close(*encoder(unseen))


def test_the_image_encoder_has_the_papers_sizes() -> None:
    model = ShowAndSpeak(SasConfig(feature_dim=2048, regions=True, classes=1601))
    first, _, second = model.encoder.layers
    assert first.in_features == 3072 and first.out_features == 1025 and second.out_features == 512
    region = model.encoder.regions
    assert region.place.weight.shape == (1024, 6) and region.kind.weight.shape == (1602, 1024)
    sizes = [tuple(cell.cell.weight_hh.shape) for cell in model.decoder.lstm]
    assert sizes == [(4096, 1024)] * 2 and model.decoder.reduction_factor == 1
    assert len(model.decoder.postnet.postnet) == 5 and model.decoder.prenet.dropout_rate == 0.5
    assert model.config.schedule == "exponential" and model.config.warmup_steps == 4000 and model.config.lr == 2e-3


def test_places_of_a_grid_are_told_apart_where_asked_for() -> None:
    x = torch.randn(1, 6, DIM)
    images = Images(x, torch.ones(1, 6, dtype=torch.bool), None)
    for told in (False, True):
        model = speaker(regions=False, grid=(2, 3), positions_2d=told)
        turned = model.encode(images._replace(features=x.flip(1))).flip(1)
        assert torch.allclose(model.encode(images), turned, atol=1e-6) != told
    with pytest.raises(UserError, match="2 x 3"):
        model.encode(images._replace(features=x[:, :5]))


def test_images_that_do_not_fit_are_refused() -> None:
    model = speaker()
    for bad, message in [
        (ImageFeatures(np.zeros((3, DIM + 1))), "6 columns"),
        (ImageFeatures(np.zeros((3, DIM))), "image regions"),
        (ImageFeatures(np.zeros((3, DIM)), np.zeros((2, 6))), r"expected \(3, 6\)"),
    ]:
        with pytest.raises(UserError, match=message):
            model.describe([bad])
    for wrong in ({"sampling_floor": 1.2}, {"feature_dropout": 1.0}, {"prenet_layers": 0}, {"reduction_factor": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            replace(TINY, **wrong)


# the losses


def test_spectrogram_losses_by_hand() -> None:
    rng = np.random.default_rng(0)
    after, before, target = rng.normal(size=(3, 2, 5, MELS))
    logits, lengths = rng.normal(size=(2, 5)), [5, 3]
    squares, stops = [], []
    for b, length in enumerate(lengths):
        for t in range(length):
            for m in range(MELS):
                squares.append((after[b, t, m] - target[b, t, m]) ** 2 + (before[b, t, m] - target[b, t, m]) ** 2)
            p = 1 / (1 + math.exp(-logits[b, t]))
            stops.append(-3 * math.log(p) if t == length - 1 else -math.log(1 - p))
    tensors = [torch.from_numpy(x) for x in (after, before, logits, target)]
    mel, stop = spectrogram_losses(*tensors, torch.tensor(lengths), stop_weight=3.0)
    assert mel.item() == pytest.approx(np.mean(squares)) and stop.item() == pytest.approx(np.mean(stops))


def test_masked_margin_softmax_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 4)).astype(np.float32)
    groups, margin = [0, 1, 0, 2, 1, 1], 0.3

    def one_way(a: np.ndarray, b: np.ndarray) -> float:
        total = 0.0
        for i in range(6):
            true = math.exp(float(a[i] @ b[i]) - margin)
            others = sum(math.exp(float(a[i] @ b[j])) for j in range(6) if groups[j] != groups[i])
            total -= math.log(true / (true + others))
        return total / 6

    found = masked_margin_softmax(torch.from_numpy(x), torch.from_numpy(y), torch.tensor(groups), margin)
    assert found.item() == pytest.approx(one_way(x, y) + one_way(y, x), rel=1e-5)
    one_image = masked_margin_softmax(torch.from_numpy(x), torch.from_numpy(y), torch.zeros(6), margin)
    assert one_image.item() == 0  # nothing to tell it from


def test_speech_is_encoded_without_its_padding() -> None:
    torch.manual_seed(0)
    encoder, lengths = SpeechEncoder(MELS, 6), [9, 4, 7, 1]
    mels = [torch.randn(n, MELS) for n in lengths]
    together = encoder(torch.nn.utils.rnn.pad_sequence(mels, batch_first=True), torch.tensor(lengths))
    assert together.shape == (4, 6)
    for mel, found in zip(mels, together, strict=True):
        torch.testing.assert_close(found, encoder(mel[None], torch.tensor([len(mel)]))[0])


@pytest.mark.parametrize("ratio", [1, 3])
def test_the_loss_of_a_batch_is_that_of_its_items(ratio: int) -> None:
    """Whatever is padded: shorter spectrograms, images of fewer regions."""
    model = no_dropout(speaker(reduction_factor=ratio, constraint_weight=0.0))
    lengths, rows = [11, 8, 3, 9], [0, 1, 2, 1]
    together = model.losses(batch(lengths, rows), 1.0)
    alone = [model.losses(batch([n], [0], [IMAGES[row]]), 1.0) for n, row in zip(lengths, rows, strict=True)]
    weights = np.array([n - n % ratio for n in lengths])
    for name in ("mel", "stop", "total"):
        assert together[name].item() == pytest.approx(
            np.average([a[name].item() for a in alone], weights=weights), rel=1e-5
        )


def test_the_constraint_is_of_mean_image_and_speech() -> None:
    model = no_dropout(speaker(margin=0.2))
    one = batch([9, 6, 7], [0, 1, 1])
    losses = model.losses(one, 1.0)
    memory = model.encode(one.images)
    means = [memory[row, : len(IMAGES[row].vectors)].mean(0) for row in one.rows.tolist()]
    normal = [(m[:n] - model.mel_mean) / model.mel_std for m, n in zip(one.mels, one.lengths, strict=True)]
    speech = torch.cat([model.speech_encoder(m[None], torch.tensor([len(m)])) for m in normal])
    expected = masked_margin_softmax(model.image_embedding(torch.stack(means)), speech, one.rows, 0.2)
    torch.testing.assert_close(losses["constraint"], expected)
    torch.testing.assert_close(losses["total"], losses["mel"] + losses["stop"] + 0.25 * expected)


@pytest.mark.parametrize("blocks", [False, True])
def test_gradients_reach_every_parameter(blocks: bool) -> None:
    model = speaker(zoneout_rate=0.0, **(BLOCKS if blocks else {})).train()
    if blocks:
        model.decoder.blocks = torch.randn(5, MELS * 3)
    model.losses(batch([11, 8, 9], [0, 1, 0]), 0.5)["total"].backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


# scheduled sampling


def test_the_share_of_true_frames_falls_to_its_floor() -> None:
    for step, share in [(0, 1000 / 1001), (1000, 1000 / (1000 + math.e)), (3000, 1000 / (1000 + math.exp(3)))]:
        assert truth_share(step, 1000, 0.9) == pytest.approx(share)
    assert truth_share(3000, 1000, 0.975) > 0.975 > truth_share(4000, 1000, 0.9)
    assert [truth_share(10**7, 1000, floor) for floor in (1, 0.99, 0.975, 0.0)] == pytest.approx([1, 0.99, 0.975, 0])
    assert truth_share(10**7, 0, 0.5) == 1
    steps = [truth_share(step, 1000, 0.9) for step in range(0, 10_000, 100)]
    assert steps == sorted(steps, reverse=True)


def teacher_forced(model: ShowAndSpeak, one: Batch, share: float) -> tuple[torch.Tensor, ...]:
    memory, mask = model.encode(one.images)[one.rows], one.images.mask[one.rows]
    with scheduled_sampling(model.decoder, share), torch.no_grad():
        return model.decoder(memory, mask.sum(1), one.mels)


@pytest.mark.parametrize("ratio", [1, 3])
def test_truth_alone_is_teacher_forcing_and_none_is_synthesis(ratio: int) -> None:
    model = speaker(reduction_factor=ratio, prenet_seed=None)
    one = batch([12, 12], [0, 1])
    torch.manual_seed(1)
    sampled = teacher_forced(model, one, 1.0)
    torch.manual_seed(1)
    memory, mask = model.encode(one.images)[one.rows], one.images.mask[one.rows]
    plain = model.decoder(memory, mask.sum(1), one.mels)
    assert all(torch.equal(a, b) for a, b in zip(sampled, plain, strict=True))

    no_dropout(model)
    options = autoregress.DecodeOptions(threshold=2.0, longest=12, seed=None)
    drawn = autoregress.decode(model.decoder, memory, mask, options)
    for _ in range(2):  # nothing is left over from one forward pass in the next
        after, _, _, attention = teacher_forced(model, one, 0.0)
        torch.testing.assert_close(after, torch.stack([d.frames for d in drawn]), atol=1e-5, rtol=1e-5)
        for row, said in zip(attention, drawn, strict=True):
            torch.testing.assert_close(row[:, : said.attention.shape[1]], said.attention, atol=1e-5, rtol=1e-5)
    half = teacher_forced(model, one, 0.5)[0]
    assert (half - after).abs().max() > 1e-3 and (half - teacher_forced(model, one, 1.0)[0]).abs().max() > 1e-3
    assert not model.decoder._forward_pre_hooks and not model.decoder.prenet._forward_pre_hooks


# synthesis


@pytest.mark.parametrize("overrides", [{}, {"reduction_factor": 3}, {"regions": False, "zoneout_rate": 0.3}])
def test_batched_description_equals_espnet_one_by_one(overrides: dict) -> None:
    model = no_dropout(speaker(prenet_seed=None, **overrides))

    def espnet(one: ImageFeatures) -> tuple[torch.Tensor, ...]:
        regions = [torch.from_numpy(one.regions)] if model.config.regions else None
        memory = model.encode(images_batch([torch.from_numpy(one.vectors)], regions))[0]
        bound = (TINY.longest + 0.5) / len(memory)  # times the length of the memory
        with torch.inference_mode():
            return model.decoder.inference(memory, threshold=model.config.threshold, maxlenratio=bound)

    model.config = replace(model.config, threshold=2.0)
    threshold = float(np.median([espnet(one)[1].max().item() for one in IMAGES]))
    model.config = replace(model.config, threshold=threshold)  # some stop by themselves
    stops = set()
    for one, said in zip(IMAGES, model.describe(IMAGES), strict=True):
        frames, stop, attention = espnet(one)
        np.testing.assert_allclose(said.mel, (frames * model.mel_std + model.mel_mean).numpy(), atol=1e-5)
        np.testing.assert_allclose(said.attention, attention.numpy(), atol=1e-5)
        assert said.stopped == bool((stop >= threshold).any())
        stops.add(said.stopped)
    assert stops == {True, False}


def test_every_image_is_described_as_if_alone_and_within_bounds() -> None:
    model = speaker(threshold=2.0, reduction_factor=5)
    for one, said in zip(IMAGES, model.describe(IMAGES), strict=True):
        alone = model.describe([one])[0]
        np.testing.assert_allclose(said.mel, alone.mel, atol=1e-5)
        assert said.mel.shape == (15, MELS) and said.attention.shape == (3, len(one.vectors))
        assert not said.stopped


def test_attention_that_tells_nothing_apart_is_told() -> None:
    assert is_flat(np.full((7, 4), 0.25)) and not is_flat(np.ones((7, 1)))
    assert not is_flat(np.eye(4)) and not is_flat(np.repeat([[0.5, 0.3, 0.1, 0.1]], 7, axis=0))


# blocks from a codebook


BLOCKS = {"codes": 5, "reduction_factor": 3, "d_model": 8, "layers": 2, "heads": 2, "d_ff": 16}


def test_codes_stand_for_blocks() -> None:
    decoder = speaker(**BLOCKS).decoder
    mels = torch.randn(2, 8, MELS)
    blocks = blocks_of(mels, 3)
    assert blocks.shape == (2, 2, MELS * 3)  # the last two frames fill no block
    torch.testing.assert_close(blocks[1, 1].view(3, MELS), mels[1, 3:6])
    decoder.blocks = torch.cat([blocks.flatten(0, 1), torch.zeros(1, MELS * 3)])
    assert torch.equal(decoder.encode(mels + 0.01 * torch.randn(mels.shape)), torch.tensor([[0, 1], [2, 3]]))
    codes, steps = torch.tensor([[0, 1], [3, 4]]), torch.tensor([2, 1])
    with torch.no_grad():
        drawn = decoder.draw(codes, steps)
        torch.testing.assert_close(drawn[1:, :3], decoder.draw(codes[1:, :1], steps[1:]))  # as if alone
        for parameter in decoder.postnet.postnet[-1].parameters():
            parameter.zero_()
        assert torch.equal(decoder.draw(codes, steps)[0], mels[0, :6])
    learned = learn_blocks([mels[0], mels[1]] * 20, 4, 3, seed=0)
    assert {tuple(b.round(decimals=3).tolist()) for b in learned} == {
        tuple(b.round(decimals=3).tolist()) for b in decoder.blocks[:4]
    }


def test_the_loss_of_blocks_is_that_of_choosing_and_drawing_them_one_by_one() -> None:
    """Whatever is padded; and the search takes the same steps as training."""
    model = speaker(**BLOCKS, constraint_weight=0.0)
    decoder, lengths, rows = model.decoder, [11, 8, 3, 9], [0, 1, 2, 1]
    decoder.blocks = torch.randn(5, MELS * 3)
    one = batch(lengths, rows)
    with torch.no_grad():
        losses = model.losses(one, 1.0)
        nats, squares, choices = 0.0, 0.0, 0
        for mel, n, row in zip((one.mels - model.mel_mean) / model.mel_std, lengths, rows, strict=True):
            count = n // 3
            codes = decoder.encode(mel[None, :n])
            alone = images_batch([torch.from_numpy(IMAGES[row].vectors)], [torch.from_numpy(IMAGES[row].regions)])
            state = decoder.chooser.start(model.encode(alone), None, 1)
            before = torch.tensor([[decoder.chooser.edge]])
            for code in [*codes[0].tolist(), decoder.chooser.edge]:
                logits, _, state = decoder.chooser.step(before, state)
                nats -= logits.log_softmax(-1)[0, 0, code].item()
                before = torch.tensor([[code]])
                choices += 1
            drawn = decoder.draw(codes, torch.tensor([count]))[0]
            squares += (drawn - mel[: count * 3]).square().sum().item()
    assert losses["code"].item() == pytest.approx(nats / choices, rel=1e-4)
    assert losses["mel"].item() == pytest.approx(squares / MELS / sum(n - n % 3 for n in lengths), rel=1e-4)
    torch.testing.assert_close(losses["total"], losses["code"] + losses["mel"])


def test_blocks_are_searched_and_drawn_as_if_alone_and_within_bounds() -> None:
    model = speaker(**BLOCKS)
    model.decoder.blocks = torch.randn(5, MELS * 3)
    model.decoder.chooser.bias.data[-1] = -1e9  # no end is ever chosen
    for search in (SearchConfig(), SearchConfig(beam=1), SearchConfig(min_length=2)):
        together = model.describe(IMAGES, search)
        for one, said in zip(IMAGES, together, strict=True):
            alone = model.describe([one], search)[0]
            np.testing.assert_allclose(said.mel, alone.mel, atol=1e-5)
            assert said.mel.shape == (TINY.longest, MELS) and said.attention.shape == (4, len(one.vectors))
            assert not said.stopped
    model.decoder.chooser.bias.data[-1] = 1e9
    said = model.describe(IMAGES)
    assert {one.mel.shape for one in said} == {(3, MELS)} and all(one.stopped for one in said)


def test_with_a_codebook_one_answer_is_chosen_without_their_mean_is_drawn() -> None:
    """Of one image two things are said, equally often."""
    answers = torch.stack([torch.full((6, MELS), 2.0), torch.full((6, MELS), -2.0)])
    images = images_batch([torch.from_numpy(IMAGES[0].vectors)], [torch.from_numpy(IMAGES[0].regions)])
    one = Batch(images, torch.zeros(2, dtype=torch.long), answers, torch.tensor([6, 6]))

    def distance(**others: Any) -> float:
        """Of what is said, at its first frame, from the nearest answer."""
        model = speaker(**{**others, "reduction_factor": 2, "constraint_weight": 0.0, "prenet_seed": None}).train()
        model.mel_mean, model.mel_std = torch.zeros(MELS), torch.ones(MELS)
        if model.config.codes:
            model.decoder.blocks = learn_blocks(list(answers), 2, 2, seed=0)
        else:
            no_dropout(model)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(60):
            optimiser.zero_grad()
            model.losses(one, 1.0)["total"].backward()
            optimiser.step()
        said = torch.from_numpy(model.eval().describe(IMAGES[:1])[0].mel)
        return float((answers[:, 0] - said[0]).abs().mean(-1).min())

    assert distance(**{**BLOCKS, "codes": 2}) < 0.5 < 1.5 < distance()


def test_a_codebook_needs_as_many_blocks() -> None:
    with pytest.raises(UserError, match="only 4 blocks of 3 frames"):
        learn_blocks([torch.zeros(12, MELS)], 5, 3, seed=0)


# data, training and files


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Data directories: an image of each class sounds in its own way; some have fewer regions, or no features."""
    rng, data = np.random.default_rng(0), tmp_path / "data"
    features = SpeechFeatureConfig(n_mels=MELS, n_mfcc=MELS)
    spectra = rng.normal(size=(CLASSES, MELS))
    for split, count in (("train", 8), ("dev", 4), ("test", 3)):
        folder, image_of = data / split, {}
        with (
            write_ark(folder / "a.ark", folder / "image_feats.scp", compress=True) as vectors,
            write_ark(folder / "b.ark", folder / "image_regions.scp") as regions,
            write_ark(folder / "c.ark", folder / "feats.scp", compress=True) as mels,
        ):
            for i in range(count):
                one = image(3 + i % 3, i)
                vectors(f"{split}{i}", one.vectors)
                regions(f"{split}{i}", one.regions)
                for k in range(3):
                    image_of[f"{split}{i}-{k}"] = f"{split}{i}"
                    n = int(rng.integers(6, 12))
                    mels(f"{split}{i}-{k}", spectra[i % CLASSES] + 0.1 * rng.normal(size=(n, MELS)))
        image_of["nothing-0"] = "nothing"
        write_table(folder / "utt2image", image_of)
        (folder / "features.json").write_text(json.dumps(to_dict(features)))
        (folder / "image_feats.json").write_text(json.dumps({"kind": "x", "dim": DIM, "weights": "y", "grid": None}))
    return data


def run_main(command: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    command.main()


def overrides(**others: object) -> list[str]:
    own = {k: v for k, v in to_dict(TINY).items() if v != to_dict(SasConfig())[k]} | others
    return ["--overrides", *(f"{k}={json.dumps(v)}" for k, v in own.items()), "--"]


def test_rows_are_read_from_the_header(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for compress in (False, True):
        with write_ark(tmp_path / "a.ark", tmp_path / "a.scp", compress=compress) as write:
            for n in (1, 300, 7):
                write(f"m{n}", rng.normal(size=(n, 80)))
        matrices = Matrices(tmp_path / "a.scp")
        assert [matrices.rows(key) for key in matrices] == [len(matrices[key]) for key in matrices] == [1, 300, 7]
    for method in (2, 5):  # Kaldi's other compressed kinds
        kaldiio.save_ark(
            f"{tmp_path}/k.ark", {"m": rng.normal(size=(20, 5))}, f"{tmp_path}/k.scp", compression_method=method
        )
        assert Matrices(tmp_path / "k.scp").rows("m") == 20
    (tmp_path / "a.ark").write_bytes((tmp_path / "a.ark").read_bytes()[:12])
    with pytest.raises(UserError, match="cannot read"):
        matrices.rows("m1")
    kaldiio.save_ark(f"{tmp_path}/v.ark", {"v": np.zeros(3, np.float32)}, f"{tmp_path}/v.scp")
    with pytest.raises(UserError, match="no matrix"):
        Matrices(tmp_path / "v.scp").rows("v")


def test_spoken_images(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = SpokenImages(corpus / "train", MELS, 1e9)
    assert len(data) == 24 and "1 of 25 utterances lack" in caplog.text and data.classes == CLASSES
    one = data.collate([data[0], data[4], data[1]])
    assert one.rows.tolist() == [0, 1, 0] and one.images.features.shape == (2, 4, DIM)
    assert one.images.mask.sum(1).tolist() == [3, 4] and one.images.regions.shape == (2, 4, 6)
    assert one.lengths.tolist() == [len(data.mels[data.ids[i]]) for i in (0, 4, 1)]
    for i, row in enumerate((0, 4, 1)):
        assert torch.equal(one.mels[i, : one.lengths[i]], torch.tensor(data.mel(row)))
        assert not one.mels[i, one.lengths[i] :].any()
    with pytest.raises(UserError, match=f"x {MELS + 1} are expected; run stage 4 again"):
        SpokenImages(corpus / "train", MELS + 1, 1e9)[0]
    write_table(corpus / "dev/utt2image", {"a": "b"})
    with pytest.raises(UserError, match="no utterance has a spectrogram"):
        SpokenImages(corpus / "dev", MELS, 1e9)


def test_memory_for_features_is_given_once(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of train take 288 bytes here, by the first image, those of dev 144."""
    caplog.set_level("INFO")
    run_main(train_sas, monkeypatch, *overrides(cache_gb=431e-9), corpus, tmp_path / "model")
    assert "dev/image_feats.scp: too large for what is left of cache_gb" in caplog.text
    assert "train/image_feats.scp: too large" not in caplog.text


def test_train_describe_and_vocode(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_dir, system = tmp_path / "model", tmp_path / "system"
    out = system / "test"
    run_main(train_sas, monkeypatch, *overrides(threshold=0.0), corpus, model_dir)
    manifest = json.loads((model_dir / "manifest.json").read_text())
    assert manifest["kind"] == "sas" and manifest["image_feats"]["dim"] == DIM and "units" not in manifest
    events = EventAccumulator(str(model_dir / "tensorboard"))
    events.Reload()
    assert events.Tags()["audio"] == [f"dev/dev{i}" for i in (0, 1, 2)]  # training can be heard
    assert {"dev/score", "dev/constraint"} < set(events.Tags()["scalars"])
    model = sas.load(model_dir)
    assert model.config.regions and model.config.classes == CLASSES
    assert model.config.longest == max(SpokenImages(corpus / "train", MELS, 0).lengths)

    for job in ("1/2", "2/2"):  # the recipes' search is for models that choose: this one does without
        search = ("--search", "length_penalty=0.3", "--job", job, "--batch-size", 2)
        run_main(show_and_speak, monkeypatch, *search, corpus / "test", model_dir, system, out)
    assert json.loads((system / "manifest.json").read_text())["sas"] == "../model"
    scp = {name: value for j in (1, 2) for name, value in read_table(out / f"wav.{j}.scp").items()}
    assert list(scp) == ["test0", "test1", "test2"] and all(Path(wav).is_file() for wav in scp.values())
    attention = Matrices(out / "attention.2.scp")
    assert {name: attention[name].shape for name in attention} == {"test1": (1, 4), "test2": (1, 5)}
    assert {name: len(Matrices(out / "mel.2.scp")[name]) for name in attention} == {"test1": 1, "test2": 1}

    write_table(tmp_path / "ids", {"test1-1": "test1", "test0-2": "test0"})
    run_main(vocode, monkeypatch, corpus / "test", tmp_path / "ids", tmp_path / "again")
    again, mels = Matrices(tmp_path / "again/mel.1.scp"), Matrices(corpus / "test/feats.scp")
    assert sorted(again) == ["test0-2", "test1-1"] and np.array_equal(again["test1-1"], mels["test1-1"])

    (corpus / "test/image_feats.json").write_text(json.dumps({"kind": "x", "dim": DIM, "weights": "other"}))
    with pytest.raises(UserError, match="image features differ"):
        run_main(show_and_speak, monkeypatch, corpus / "test", model_dir, system, out)


@pytest.mark.parametrize("decoder", [{"sampling_decay": 1.0, "sampling_floor": 0.5}, BLOCKS])
def test_resumed_training_ends_in_the_same_weights(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: dict
) -> None:
    """Dropout, zoneout and sampling draw the same numbers after a kill as without one."""
    sampling = {"epochs": 2, "feature_dropout": 0.2, **decoder}
    run_main(train_sas, monkeypatch, *overrides(**sampling), corpus, tmp_path / "whole")

    class Killed(BaseException):
        """Leaves training at once, as a kill does."""

    def killed(self: ShowAndSpeak, one: Batch, index: int) -> torch.Tensor:
        if (self.current_epoch, index) == (1, 2):
            raise Killed
        return step(self, one, index)

    step = ShowAndSpeak.training_step
    monkeypatch.setattr(ShowAndSpeak, "training_step", killed)
    with pytest.raises(Killed):
        run_main(train_sas, monkeypatch, *overrides(**sampling), corpus, tmp_path / "killed")
    monkeypatch.setattr(ShowAndSpeak, "training_step", step)
    with pytest.raises(UserError, match="another configuration"):
        run_main(train_sas, monkeypatch, *overrides(**sampling, lr=0.1), corpus, tmp_path / "killed")
    run_main(train_sas, monkeypatch, *overrides(**sampling), corpus, tmp_path / "killed")
    whole, resumed = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "killed")
    )
    assert whole["global_step"] == resumed["global_step"] == 12
    assert all(torch.equal(value, resumed["state_dict"][key]) for key, value in whole["state_dict"].items())


def test_a_loss_that_can_be_learned_is_learned(corpus: Path) -> None:
    """Which image it is decides how it sounds: the drawn spectrograms come closer than a constant one."""
    data = SpokenImages(corpus / "train", MELS, 1e9)
    one = data.collate([data[i] for i in range(12)])
    model = speaker(dropout_rate=0.1, zoneout_rate=0.0, sampling_floor=0.9).train()
    model.mel_mean, model.mel_std = data.mel_statistics()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        optimiser.zero_grad()
        losses = model.losses(one, 0.9)
        losses["total"].backward()
        optimiser.step()
    assert losses["mel"] < 1.0 and losses["constraint"] < 1.0  # 2 and 2 log 12 where nothing is known


def test_images_go_to_a_device_whole() -> None:
    moved = Images(*(torch.zeros(1) for _ in range(3))).to(torch.device("meta"))
    assert all(x.is_meta for x in moved)
