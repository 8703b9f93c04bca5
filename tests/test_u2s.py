"""Unit to speech: the fast model, Tacotron 2 in batches, their training and their files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from i2s import u2s
from i2s.archive import write_ark
from i2s.bin import train_u2s
from i2s.config import load_config, to_dict
from i2s.corpus.tables import write_int_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.modeldir import save_manifest
from i2s.train.fit import load_weights
from i2s.u2s import autoregress
from i2s.u2s.base import UnitToSpeech, frame_mask
from i2s.u2s.data import UnitSpeech, collate
from i2s.u2s.fast import MAX_POSITION, FastConfig, FastModel, regulate
from i2s.u2s.tacotron2 import (
    Tacotron2Config,
    Tacotron2Model,
    alignment_loss,
    expected_attention,
    load_espnet,
    well_aligned,
)
from i2s.units.runs import round_durations

from .conftest import refuses_units_that_do_not_fit

SIZE, MELS = 7, 10
TINY_FAST = FastConfig(width=16, unit_layers=2, frame_layers=2, kernel=3)
TINY_TACOTRON = Tacotron2Config(
    embed_dim=16, eunits=16, econv_chans=16, econv_layers=2, adim=8, aconv_chans=4, aconv_filts=2, dunits=16,
    prenet_units=8, postnet_layers=2, postnet_chans=8,
)  # fmt: skip
UNITS = [[1, 2, 3, 1, 6, 0], [4, 5], [0, 1, 0, 2], [3]]
run_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def tacotron(seed: int = 0, **overrides: object) -> Tacotron2Model:
    """A small model with random weights: batch norm statistics as after training, stops not at once."""
    torch.manual_seed(seed)
    config = load_config(Tacotron2Config, None, [f"{k}={json.dumps(v)}" for k, v in overrides.items()])
    values = {**to_dict(TINY_TACOTRON), **{k: getattr(config, k) for k in overrides}}
    model = Tacotron2Model(Tacotron2Config(**values), SIZE, MELS)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.bias.data.normal_()
    model.mel_mean, model.mel_std = torch.randn(MELS), torch.rand(MELS) + 0.5
    return model.eval()


# the fast model


@given(st.lists(st.floats(0.01, 60), min_size=1, max_size=50))
def test_rounding_keeps_the_total(durations: list[float]) -> None:
    rounded = round_durations(np.array(durations))
    assert len(rounded) == len(durations) and min(rounded) >= 1
    if min(durations) >= 1:
        ends, exact = np.cumsum(rounded), np.cumsum(durations)
        assert np.abs(ends - exact).max() <= 0.5 + 1e-9


@given(st.lists(run_lengths, min_size=1, max_size=4))
@settings(deadline=None)
def test_length_regulator_repeats_each_unit(rows: list[list[int]]) -> None:
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)
    index, start, end, mask = regulate(padded)
    for b, row in enumerate(rows):
        total = sum(row)
        assert mask[b].sum() == total and mask[b, :total].all()
        assert index[b, :total].tolist() == np.repeat(np.arange(len(row)), row).tolist()
        places = [(i, length - 1 - i) for length in row for i in range(length)]
        top = MAX_POSITION - 1
        assert start[b, :total].tolist() == [min(s, top) for s, _ in places]
        assert end[b, :total].tolist() == [min(e, top) for _, e in places]


def test_fast_speaks_each_utterance_as_if_alone() -> None:
    torch.manual_seed(0)
    model = FastModel(TINY_FAST, SIZE, MELS).eval()
    together = model.synthesise(UNITS)
    for units, said in zip(UNITS, together, strict=True):
        alone = model.synthesise([units])[0]
        assert said.durations == alone.durations and len(said.mel) == sum(said.durations or [])
        np.testing.assert_allclose(said.mel, alone.mel, atol=1e-5)
    given = [[d % 3 + 1 for d in range(len(u))] for u in UNITS]
    assert [s.durations for s in model.synthesise(UNITS, given)] == given


def test_durations_are_learned_without_bias() -> None:
    """Runs of one unit last 2 or 8 frames by chance: the model must say 5 (their mean), not 4 (of the logarithms)."""
    torch.manual_seed(0)
    model = FastModel(FastConfig(width=8, unit_layers=1, frame_layers=1, dropout=0.0), 1, 2)
    rng = np.random.default_rng(0)
    runs = [rng.choice([2, 8], 1).tolist() for _ in range(200)]
    batch = collate([([0], r, np.zeros((sum(r), 2), np.float32)) for r in runs])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        model.losses(batch)["duration"].backward()
        optimiser.step()
    model.eval()
    assert (
        abs(model.encode(torch.zeros(1, 1, dtype=torch.long), torch.tensor([1]))[1].exp().item() - np.mean(runs)) < 0.2
    )


@pytest.mark.parametrize("model", [FastModel(TINY_FAST, SIZE, MELS), tacotron()], ids=["fast", "tacotron2"])
def test_units_that_do_not_fit_are_refused(model: UnitToSpeech) -> None:
    refuses_units_that_do_not_fit(model, SIZE)


# Tacotron 2


def espnet_inference(model: Tacotron2Model, units: list[int]) -> dict[str, torch.Tensor]:
    """ESPnet's own, one by one, without the pre-net's dropout."""
    model.tts.dec.prenet.dropout_rate = 0.0
    window = model.config.attention_window
    with torch.inference_mode():
        return model.tts.inference(
            torch.tensor(units) + 2, threshold=model.config.threshold, maxlenratio=model.config.max_ratio,
            use_att_constraint=bool(window), backward_window=window[0] if window else None,
            forward_window=window[1] if window else None,
        )  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        {"reduction_factor": 1},
        {"reduction_factor": 2, "zoneout_rate": 0.3},
        {"reduction_factor": 3, "attention_window": [1, 3]},
        {"reduction_factor": 1, "postnet_layers": 0, "dlayers": 1},
    ],
)
def test_batched_decoding_equals_espnet(overrides: dict) -> None:
    model = tacotron(**overrides, prenet_seed=None, max_ratio=8.0)
    # A threshold that half of the utterances reach: both ways of ending are met.
    peaks = [espnet_inference(_with(model, threshold=2.0), u)["prob"].max().item() for u in UNITS]
    threshold = float(np.median(peaks))
    _with(model, threshold=threshold)
    stops = set()
    for units, said in zip(UNITS, model.synthesise(UNITS), strict=True):
        expected = espnet_inference(model, units)
        mel = (expected["feat_gen"] * model.mel_std + model.mel_mean).numpy()
        assert said.mel.shape == mel.shape
        np.testing.assert_allclose(said.mel, mel, atol=1e-4)
        np.testing.assert_allclose(said.attention, expected["att_w"][:, :-1].numpy(), atol=1e-4)
        assert said.stopped == bool((expected["prob"] >= threshold).any())
        stops.add(said.stopped)
    assert stops == {True, False}


def _with(model: Tacotron2Model, **values: object) -> Tacotron2Model:
    model.config = Tacotron2Config(**{**to_dict(model.config), **values})  # type: ignore[arg-type]
    return model


def test_prenet_dropout_is_the_same_for_every_batch() -> None:
    model = tacotron(max_ratio=4.0, threshold=2.0)
    together, again = model.synthesise(UNITS), model.synthesise(UNITS[::-1])[::-1]
    for units, a, b in zip(UNITS, together, again, strict=True):
        np.testing.assert_allclose(a.mel, b.mel, atol=1e-5)
        np.testing.assert_allclose(a.mel, model.synthesise([units])[0].mel, atol=1e-5)
    other = _with(model, prenet_seed=1).synthesise(UNITS)
    assert np.abs(other[0].mel - together[0].mel).max() > 1e-3
    assert not together[0].stopped


def test_encoder_equals_espnet_on_each_utterance() -> None:
    model = tacotron()
    units = torch.nn.utils.rnn.pad_sequence([torch.tensor(u) for u in UNITS], batch_first=True)
    tokens, lengths = model.tokens(units, torch.tensor([len(u) for u in UNITS]))
    memory = autoregress.encode(model.tts.enc, tokens, lengths)
    for row, length, states in zip(tokens, lengths, memory, strict=True):
        assert row[length - 1] == model.tts.eos and not row[length:].any()
        torch.testing.assert_close(states[:length], model.tts.enc.inference(row[:length]))


@given(st.lists(run_lengths, min_size=1, max_size=3), st.integers(1, 3))
@settings(deadline=None)
def test_expected_attention_counts_frames(rows: list[list[int]], ratio: int) -> None:
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)
    steps = max(map(sum, rows)) // ratio
    expected = expected_attention(padded, steps, ratio)
    for b, row in enumerate(rows):
        owner = np.repeat(np.arange(len(row)), row)
        for s in range(sum(row) // ratio):
            counts = np.bincount(owner[s * ratio : (s + 1) * ratio], minlength=padded.shape[1]) / ratio
            np.testing.assert_allclose(expected[b, s].numpy(), counts, atol=1e-6)
    frames = torch.tensor([sum(r) - sum(r) % ratio for r in rows])
    if steps and (frames > 0).any():
        perfect = torch.nn.functional.pad(expected, (0, 1))
        assert abs(alignment_loss(perfect, padded, frames, ratio)) < 1e-5
        assert alignment_loss(perfect.roll(1, 2), padded, frames, ratio) > 0.1


def attend(path: list[int], units: int) -> np.ndarray:
    return np.eye(units, dtype=np.float32)[path]


def test_attention_failures_are_told() -> None:
    units = 20
    good = sorted([*range(units)] * 2)
    assert well_aligned(attend(good, units), 1)
    assert well_aligned(attend(good[::2], units), 2)
    assert not well_aligned(attend(good[:20] + good[4:], units), 1)  # says units 2 to 9 twice
    assert not well_aligned(attend(good[:10] + good[24:], units), 1)  # leaves units 5 to 11 out
    assert not well_aligned(attend(good[:24], units), 1)  # ends before the end
    assert not well_aligned(attend(good[14:], units), 1)  # begins after the beginning


def test_supervised_attention_is_learned() -> None:
    """A few steps on one utterance: the attention comes to the known alignment; by the mel loss alone it does not."""
    model = tacotron(dropout_rate=0.0, zoneout_rate=0.0, reduction_factor=1).train()
    rng = np.random.default_rng(0)
    runs = [3, 1, 4, 2, 2, 3]
    batch = collate([(UNITS[0], runs, rng.normal(size=(sum(runs), MELS)).astype(np.float32))])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)

    def learn(name: str, steps: int) -> float:
        for _ in range(steps):
            optimiser.zero_grad()
            losses = model.losses(batch)
            losses[name].backward()
            optimiser.step()
        return losses["attention"].item()

    assert learn("l1", 20) > 1.0
    assert learn("total", 60) < 0.3


def test_longer_neighbours_change_no_loss() -> None:
    """The post-net, in particular, hears nothing of what is drawn behind the end of a shorter utterance."""
    model, rng = tacotron(dropout_rate=0.0), np.random.default_rng(0)
    items = [
        (units, runs, rng.normal(size=(sum(runs), MELS)).astype(np.float32))
        for units, runs in ((UNITS[0], [3, 1, 4, 2, 2, 8]), (UNITS[1], [2, 4]))
    ]
    frames = [len(mel) for _, _, mel in items]
    with torch.no_grad():
        together = model.losses(collate(items))
        alone = [model.losses(collate([item])) for item in items]
    for name in ("l1", "mse", "stop"):
        expected = np.average([losses[name].item() for losses in alone], weights=frames)
        assert together[name].item() == pytest.approx(expected, rel=1e-5)


# training and files


def make_data(root: Path, rng: np.random.Generator, kinds: int = SIZE) -> tuple[Path, Path, SpeechFeatureConfig]:
    """Data directories and units: each unit has a spectrum of its own."""
    features = SpeechFeatureConfig(n_mels=MELS, n_mfcc=MELS)
    spectra = rng.normal(size=(kinds, MELS))
    for split, count in (("train", 24), ("dev", 6)):
        units, durations = {}, {}
        with write_ark(root / f"data/{split}/feats.ark", root / f"data/{split}/feats.scp") as write:
            for i in range(count):
                row = [int(u) for u in rng.integers(0, kinds, rng.integers(3, 9))]
                runs = [int(d) for d in rng.integers(1, 6, len(row))]
                units[f"{split}{i:02d}"], durations[f"{split}{i:02d}"] = row, runs
                write(f"{split}{i:02d}", spectra[np.repeat(row, runs)] + 0.05 * rng.normal(size=(sum(runs), MELS)))
        (root / f"data/{split}/features.json").write_text(json.dumps(to_dict(features)))
        write_int_table(root / f"units/{split}/units", units)
        write_int_table(root / f"units/{split}/unit_durations", durations)
    manifest = {
        "kind": "units", "method": "kmeans", "inventory": "0" * 64, "size": kinds, "features": to_dict(features),
        "frame_shift": features.hop_length / features.sample_rate, "sample_rate": features.sample_rate,
        "smoothing": 0.0, "bpe_size": 0,
    }  # fmt: skip
    save_manifest(root / "units", manifest)
    return root / "data", root / "units", features


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, Path, SpeechFeatureConfig]:
    return make_data(tmp_path, np.random.default_rng(0))


def train(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["train_u2s", *map(str, arguments)])
    train_u2s.main()


def test_train_fast_and_load(corpus: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, units, _ = corpus
    model_dir = tmp_path / "model"
    overrides = "width=32 unit_layers=1 frame_layers=1 epochs=12 batch_size=4 lr=0.02 warmup_steps=5 dropout=0"
    train(monkeypatch, "--overrides", *overrides.split(), "--", data, units, model_dir)
    manifest = json.loads((model_dir / "manifest.json").read_text())
    assert manifest["kind"] == "u2s" and manifest["model"] == "fast" and manifest["units"]["size"] == SIZE
    model = u2s.load(model_dir)
    dev = UnitSpeech(data / "dev", units / "dev", SIZE, MELS)
    rows, runs, mels = zip(*(dev[i] for i in range(len(dev))), strict=True)
    said = model.synthesise(rows, runs)
    error = np.mean([np.abs(s.mel - m).mean() for s, m in zip(said, mels, strict=True)])
    floor = np.mean([np.abs(m - m.mean(0)).mean() for m in mels])
    assert error < 0.25 * floor


def test_training_goes_on_with_the_same_configuration_alone(
    corpus: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, units, _ = corpus
    overrides = ["width=32", "unit_layers=1", "frame_layers=1", "epochs=1", "batch_size=12"]
    train(monkeypatch, "--overrides", *overrides, "--", data, units, tmp_path)
    made = (tmp_path / "config.yaml").read_text()
    with pytest.raises(UserError, match="another configuration"):
        train(monkeypatch, "--overrides", *overrides, "lr=0.5", "--", data, units, tmp_path)
    assert (tmp_path / "config.yaml").read_text() == made
    train(monkeypatch, "--overrides", *overrides, "--", data, units, tmp_path)


def test_train_tacotron_and_open_in_espnet(corpus: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, units, _ = corpus
    model_dir = tmp_path / "model"
    sizes = {k: v for k, v in to_dict(TINY_TACOTRON).items() if v != to_dict(Tacotron2Config())[k]}
    overrides = [f"{k}={v}" for k, v in {**sizes, "epochs": 1, "batch_size": 12, "workers": 0}.items()]
    train(monkeypatch, "--u2s", "tacotron2", "--overrides", *overrides, "--", data, units, model_dir)
    model = u2s.load(model_dir)
    assert isinstance(model, Tacotron2Model)
    _with(model, prenet_seed=None, threshold=0.5, max_ratio=3.0)
    said = model.synthesise([UNITS[0]])[0]

    from espnet2.bin.tts_inference import Text2Speech

    espnet = Text2Speech(str(model_dir / "espnet/config.yaml"), str(model_dir / "espnet/model.pth"), maxlenratio=3.0)
    espnet.tts.dec.prenet.dropout_rate = 0.0
    heard = espnet(" ".join(map(str, UNITS[0])))["feat_gen_denorm"].numpy()
    np.testing.assert_allclose(said.mel, heard, atol=1e-4)

    # and back: ESPnet's file into a new model, of another number of units
    other = Tacotron2Model(model.config, SIZE + 1, MELS)
    embedding = other.tts.enc.embed.weight.clone()
    load_espnet(other, model_dir / "espnet/model.pth")
    assert torch.equal(other.tts.dec.feat_out.weight, model.tts.dec.feat_out.weight)
    assert torch.equal(other.tts.enc.embed.weight, embedding)
    torch.save({"tts.other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no Tacotron 2 weights"):
        load_espnet(other, tmp_path / "other.pth")


def test_faults_in_training_data(corpus: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, units, features = corpus
    for name, message in [("fast", "unknown key 'widht'; did you mean width"), ("slow", "choose from")]:
        with pytest.raises(UserError, match=message):
            train(monkeypatch, "--u2s", name, "--overrides", "widht=3", "--", data, units, tmp_path / "model")
    (data / "dev/features.json").write_text(json.dumps({**to_dict(features), "fmax": 7600.0}))
    with pytest.raises(UserError, match="speech features differ"):
        train(monkeypatch, data, units, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with pytest.raises(UserError, match="inventory"):
        UnitSpeech(data / "dev", units / "dev", 3, MELS)
    with pytest.raises(UserError, match="are expected"):
        UnitSpeech(data / "dev", units / "dev", SIZE, MELS + 1)[0]
    with pytest.raises(UserError, match="no utterance in common"):
        UnitSpeech(data / "dev", units / "train", SIZE, MELS)
    durations = (units / "dev/unit_durations").read_text().splitlines()
    (units / "dev/unit_durations").write_text("\n".join([durations[0] + " 1", *durations[1:]]) + "\n")
    with pytest.raises(UserError, match="run stage 6 again"):
        UnitSpeech(data / "dev", units / "dev", SIZE, MELS)
    (units / "dev/unit_durations").write_text("\n".join([durations[0][:-1] + "9", *durations[1:]]) + "\n")
    with pytest.raises(UserError, match="stages 4 and 6"):
        UnitSpeech(data / "dev", units / "dev", SIZE, MELS)[0]


def test_a_model_of_another_inventory_does_not_load(tmp_path: Path) -> None:
    torch.save({"state_dict": FastModel(TINY_FAST, SIZE, MELS).state_dict()}, tmp_path / "best.ckpt")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_weights(FastModel(TINY_FAST, SIZE + 1, MELS), tmp_path / "best.ckpt")
    with pytest.raises(UserError, match="no finished model"):
        u2s.load(tmp_path)


def test_frame_mask() -> None:
    assert frame_mask(torch.tensor([2, 0, 3])).tolist() == [[True, True, False], [False] * 3, [True] * 3]
