"""Vocoders: Griffin-Lim and HiFi-GAN, on speech that the tests speak."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from i2s import vocoder
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig, log_mel
from i2s.vocoder.base import similar_batches
from i2s.vocoder.griffinlim import GriffinLim
from i2s.vocoder.hifigan import HiFiGAN

FEATURES = SpeechFeatureConfig()
SHORT_HOP = SpeechFeatureConfig(
    sample_rate=16000, n_fft=512, win_length=400, hop_length=160, n_mels=60, fmin=20.0, fmax=7600.0
)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """A sentence at 22050 Hz."""
    from hibari import Hibari

    return soxr.resample(np.asarray(Hibari()("A brown dog runs.", seed=0), np.float32), 24000, 22050)


def distance(wav: np.ndarray, mel: np.ndarray, features: SpeechFeatureConfig = FEATURES) -> float:
    """Mean absolute difference between the log-mel of `wav` and `mel`."""
    return float(np.abs(log_mel(wav, features) - mel).mean())


# Griffin-Lim


def test_griffinlim_keeps_the_spectrogram(speech: np.ndarray) -> None:
    mel = log_mel(speech, FEATURES)
    wav = vocoder.load("griffinlim", FEATURES)([mel])[0]
    assert wav.dtype == np.float32 and len(wav) == len(mel) * FEATURES.hop_length
    assert distance(wav, mel) < 0.2
    # Each part does its work.
    assert distance(GriffinLim(FEATURES, iterations=2)([mel])[0], mel) > 1.5 * distance(wav, mel)
    assert distance(GriffinLim(FEATURES, momentum=0.0)([mel])[0], mel) > distance(wav, mel)
    assert distance(GriffinLim(FEATURES, nnls_iterations=0)([mel])[0], mel) > distance(wav, mel)


def test_griffinlim_with_a_hop_that_does_not_divide_the_window(speech: np.ndarray) -> None:
    mel = log_mel(soxr.resample(speech, 22050, 16000), SHORT_HOP)
    wav = GriffinLim(SHORT_HOP)([mel])[0]
    assert len(wav) == len(mel) * 160
    assert distance(wav, mel, SHORT_HOP) < 0.25


def test_griffinlim_is_deterministic_whatever_the_batch(speech: np.ndarray) -> None:
    mel = log_mel(speech, FEATURES)
    mels = [mel[:40], mel[:97], mel[60:61], mel[20:110]]
    to_wav = GriffinLim(FEATURES, iterations=4)
    together = to_wav(mels)
    for one, wav in zip(mels, together, strict=True):
        alone = to_wav([one])[0]
        assert len(wav) == len(one) * FEATURES.hop_length
        np.testing.assert_allclose(wav, alone, atol=1e-4)
        np.testing.assert_array_equal(alone, to_wav([one])[0])


def test_mel_inversion_finds_what_a_mel_was_made_of() -> None:
    to_wav = GriffinLim(FEATURES, nnls_iterations=200)
    linear = torch.rand(5, FEATURES.n_fft // 2 + 1)
    mel = (linear @ to_wav.filters.T).log().numpy()
    found = to_wav.magnitude(mel)
    assert found.min() >= 0
    np.testing.assert_allclose((found @ to_wav.filters.T).log().numpy(), mel, atol=1e-2)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 200))
@settings(deadline=None)
def test_batches_hold_everything_once(lengths: list[int], most: int) -> None:
    batches = similar_batches(lengths, most)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= most


# HiFi-GAN

SMALL = {
    "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4], "channels": 32,
    "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5]] * 3,
}  # fmt: skip


def published_weights(mels: int = 80) -> dict[str, torch.Tensor]:
    """Random weights under the authors' names, weight-normalised as theirs are."""
    generator = torch.Generator().manual_seed(0)
    out: dict[str, torch.Tensor] = {}

    def layer(name: str, shape: tuple[int, ...], biases: int) -> None:
        out[f"{name}.weight_v"] = torch.randn(shape, generator=generator)
        out[f"{name}.weight_g"] = torch.rand((shape[0], 1, 1), generator=generator) + 0.5
        out[f"{name}.bias"] = torch.randn(biases, generator=generator) * 0.1

    width = SMALL["channels"]
    layer("conv_pre", (width, mels, 7), width)
    for i, kernel in enumerate(SMALL["upsample_kernel_sizes"]):
        layer(f"ups.{i}", (width, width // 2, kernel), width // 2)
        width //= 2
        for j, kernel_size in enumerate(SMALL["resblock_kernel_sizes"]):
            for k in range(3):
                layer(f"resblocks.{3 * i + j}.convs1.{k}", (width, width, kernel_size), width)
                layer(f"resblocks.{3 * i + j}.convs2.{k}", (width, width, kernel_size), width)
    layer("conv_post", (1, width, 7), 1)
    return out


def by_the_paper(weights: dict[str, torch.Tensor], mel: np.ndarray) -> np.ndarray:
    """HiFi-GAN's generator written down from the paper: the independent side of the test."""

    def get(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        v, g = weights[f"{name}.weight_v"], weights[f"{name}.weight_g"]
        return g * v / v.pow(2).sum((1, 2), keepdim=True).sqrt(), weights[f"{name}.bias"]

    x = F.conv1d(torch.tensor(mel).T[None], *get("conv_pre"), padding=3)
    for i, (rate, kernel) in enumerate(zip(SMALL["upsample_rates"], SMALL["upsample_kernel_sizes"], strict=True)):
        x = F.conv_transpose1d(F.leaky_relu(x, 0.1), *get(f"ups.{i}"), stride=rate, padding=(kernel - rate) // 2)
        fields = []
        for j, size in enumerate(SMALL["resblock_kernel_sizes"]):
            h = x
            for k, dilation in enumerate(SMALL["resblock_dilation_sizes"][j]):
                name, half = f"resblocks.{3 * i + j}", (size - 1) // 2
                inner = F.conv1d(
                    F.leaky_relu(h, 0.1), *get(f"{name}.convs1.{k}"), dilation=dilation, padding=dilation * half
                )
                h = h + F.conv1d(F.leaky_relu(inner, 0.1), *get(f"{name}.convs2.{k}"), padding=half)
            fields.append(h)
        x = torch.stack(fields).mean(0)
    return torch.tanh(F.conv1d(F.leaky_relu(x, 0.01), *get("conv_post"), padding=3))[0, 0].numpy()


def espnet_names(weights: dict[str, torch.Tensor], prefix: str = "") -> dict[str, torch.Tensor]:
    """The same weights as ESPnet saves them."""
    out = {}
    for key, value in weights.items():
        first, _, rest = key.partition(".")
        if first == "conv_pre":
            key = f"input_conv.{rest}"
        elif first == "conv_post":
            key = f"output_conv.1.{rest}"
        elif first == "ups":
            i, _, name = rest.partition(".")
            key = f"upsamples.{i}.1.{name}"
        else:
            i, convs, k, name = rest.split(".")
            key = f"blocks.{i}.{convs}.{k}.1.{name}"
        out[prefix + key] = value
    return out


def test_published_and_espnet_weights_give_what_the_paper_says(tmp_path: Path) -> None:
    weights = published_weights()
    rng = np.random.default_rng(0)
    mels = [rng.normal(size=(9, 80)).astype(np.float32), rng.normal(size=(4, 80)).astype(np.float32)]
    files = {
        "generator": {"generator": weights},
        "parallelwavegan": {"model": {"generator": espnet_names(weights)}},
        "espnet": espnet_names(weights, "tts.generator.vocoder."),
        "parametrised": {
            "generator": {
                k.replace("weight_g", "parametrizations.weight.original0").replace(
                    "weight_v", "parametrizations.weight.original1"
                ): v
                for k, v in weights.items()
            }
        },
    }
    for name, content in files.items():
        path = tmp_path / f"{name}.pth.tar"
        torch.save(content, path)
        to_wav = HiFiGAN(FEATURES, path)
        to_wav.bf16 = False
        for mel, wav in zip(mels, to_wav(mels), strict=True):
            assert wav.shape == (len(mel) * 256,)
            np.testing.assert_allclose(wav, by_the_paper(weights, mel), atol=1e-5)


def test_hifigan_faults(tmp_path: Path) -> None:
    for path, message in [(None, "no file given"), (tmp_path / "none", "no such file")]:
        with pytest.raises(UserError, match=message):
            vocoder.load("hifigan", FEATURES, path)
    path = tmp_path / "generator"
    torch.save({"generator": published_weights()}, path)
    config = {"num_mels": 80, "hop_size": 256, "sampling_rate": 16000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="sampling_rate 16000"):
        vocoder.load("hifigan", FEATURES, path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        vocoder.load("hifigan", FEATURES, path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match="takes 80 mel channels and hop 256"):
        vocoder.load("hifigan", SHORT_HOP, path)
    weights = published_weights()
    del weights["conv_post.bias"]
    for content, message in [
        ({"generator": weights}, "not a HiFi-GAN generator"),
        ({"mpd": {}, "msd": {}}, "holds no generator"),
    ]:
        torch.save(content, path)
        with pytest.raises(UserError, match=message):
            vocoder.load("hifigan", FEATURES, path)
    path.write_bytes(b"not weights")
    with pytest.raises(UserError, match="not a file of PyTorch weights"):
        vocoder.load("hifigan", FEATURES, path)


def test_spectrograms_that_do_not_fit_are_refused() -> None:
    to_wav = GriffinLim(FEATURES, iterations=1)
    good = np.zeros((3, 80), np.float32)
    bad = np.full((3, 80), np.nan, np.float32)
    for mels, message in [([good, good[:, :79]], "spectrogram 1"), ([good[:0]], r"\(0, 80\)"), ([bad], "NaN")]:
        with pytest.raises(UserError, match=message):
            to_wav(mels)
    with pytest.raises(UserError, match="did you mean griffinlim"):
        vocoder.load("griffinlin", FEATURES)
