"""Image to unit: search against brute force, all models, data, training from a folder and loading from one."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from i2s import i2u
from i2s.archive import Matrices, write_ark
from i2s.bin import generate, train_i2u
from i2s.config import load_config
from i2s.corpus.tables import read_int_table, write_int_table, write_table
from i2s.errors import UserError
from i2s.files import sha256
from i2s.i2u.base import Batch, Grid, ImageToUnitModel
from i2s.i2u.data import Captions, pad_features
from i2s.i2u.inference import ImageToUnits
from i2s.i2u.sat import SatConfig, ShowAttendTell
from i2s.i2u.search import Found, SearchConfig, best, search
from i2s.i2u.transformer import TransformerConfig, TransformerModel
from i2s.i2u.xnmt import Xnmt, XnmtConfig, read
from i2s.modeldir import load_manifest, save_manifest
from i2s.units.bpe import UnitBpe

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("transformer", "sat", "xnmt")


def small_model(name: str, pieces: int = 3, seed: int = 0, sharp: float = 4.0) -> ImageToUnitModel:
    """A random model whose distributions are far from uniform, so that ties and luck play no part."""
    torch.manual_seed(seed)
    model: ImageToUnitModel
    if name == "transformer":
        model = TransformerModel(
            TransformerConfig(
                pieces=pieces, feature_dim=6, grid=(2, 2), d_model=16, layers=2, heads=2, d_ff=32, encoder_layers=1
            )
        )
    elif name == "sat":
        model = ShowAttendTell(SatConfig(pieces=pieces, feature_dim=6, embed_dim=8, hidden_dim=8, attention_dim=8))
    else:
        model = Xnmt(small_xnmt(pieces))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(sharp / 2 if name == "transformer" else sharp)
    return model.eval()


def small_xnmt(pieces: int, **others: int) -> XnmtConfig:
    sizes = {"encoder_dim": 8, "embed_dim": 8, "hidden_dim": 8, "attention_dim": 8, "mlp_dim": 16, **others}
    return XnmtConfig(pieces=pieces, feature_dim=6, **sizes)


def random_features(images: int, seed: int = 0, positions: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(images, positions, 6)).astype(np.float32))


def batch_of(model: ImageToUnitModel, features: torch.Tensor, sequences: list[tuple[int, ...]]) -> Batch:
    """Every sequence for the one image of `features` (1, L, D)."""
    longest = max(map(len, sequences)) + 1
    inputs = torch.full((len(sequences), longest), model.edge)
    targets = torch.full((len(sequences), longest), -1)
    for i, s in enumerate(sequences):
        inputs[i, 1 : len(s) + 1] = targets[i, : len(s)] = torch.tensor(s, dtype=torch.long)
        targets[i, len(s)] = model.edge
    return Batch(features, None, torch.zeros(len(sequences), dtype=torch.long), inputs, targets)


@torch.inference_mode()
def log_probs(model: ImageToUnitModel, features: torch.Tensor, sequences: list[tuple[int, ...]]) -> torch.Tensor:
    """Log probability of each sequence and its end, teacher-forced: the training path, which search never uses."""
    batch = batch_of(model, features, sequences)
    logits, _ = model(batch)
    valid = batch.targets >= 0
    each = logits.log_softmax(-1).gather(1, batch.targets[valid][:, None])[:, 0]
    rows = torch.arange(len(sequences))[:, None].expand_as(valid)[valid]
    return torch.zeros(len(sequences), dtype=each.dtype).index_add(0, rows, each)


def all_sequences(pieces: int, low: int, high: int) -> list[tuple[int, ...]]:
    return [s for n in range(low, high + 1) for s in itertools.product(range(pieces), repeat=n)]


def repeats(sequence: tuple[int, ...], n: int) -> bool:
    runs = [sequence[i : i + n] for i in range(len(sequence) - n + 1)]
    return len(set(runs)) < len(runs)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "options",
    [
        {"length_penalty": 0.0},
        {"length_penalty": 1.0},
        {"length_penalty": 0.6, "length_bonus": 1.5},
        {"length_penalty": 1.0, "min_length": 3},
        {"length_penalty": 0.5, "no_repeat": 2},
        {"length_penalty": 1.2, "no_repeat": 1},
    ],
)
def test_a_wide_beam_finds_what_brute_force_finds(name, options):
    config = SearchConfig(beam=150, max_length=4, **options)
    for seed in range(3):
        model, features = small_model(name, seed=seed), random_features(1, seed)
        sequences = all_sequences(3, config.min_length, 4)
        if config.no_repeat:
            sequences = [s for s in sequences if not repeats(s, config.no_repeat)]
        log_prob = log_probs(model, features, sequences)
        lengths = torch.tensor([len(s) + 1.0 for s in sequences])
        scores = (log_prob + config.length_bonus * lengths) / lengths**config.length_penalty
        (found,) = search(model, features, None, config)
        best = int(scores.argmax())
        assert tuple(found[0].pieces) == sequences[best]
        assert found[0].score == pytest.approx(float(scores[best]), abs=1e-4)
        assert found[0].log_prob == pytest.approx(float(log_prob[best]), abs=1e-4)
        # Not only the best: every sequence is there once, in order of score.
        assert sorted(tuple(f.pieces) for f in found) == sorted(sequences)
        np.testing.assert_allclose([f.score for f in found], sorted(scores.tolist(), reverse=True), atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_beam_of_one_is_greedy(name):
    model, features = small_model(name, pieces=7), random_features(4)
    found = search(model, features, None, SearchConfig(beam=1, max_length=8, min_length=1))
    for image, (one,) in zip(features, found, strict=True):
        greedy: list[int] = []
        with torch.inference_mode():
            while len(greedy) <= 8:
                logits, _ = model(batch_of(model, image[None], [tuple(greedy)]))
                order = logits[-1].argsort(descending=True).tolist()
                token = next(t for t in order if greedy or t != model.edge)
                if token == model.edge or len(greedy) == 8:
                    break
                greedy.append(token)
        assert one.pieces == greedy
        assert one.finished == (token == model.edge)


def equal(a: list[Found], b: list[Found]) -> None:
    assert [f.pieces for f in a] == [f.pieces for f in b]
    assert [f.finished for f in a] == [f.finished for f in b]
    for x, y in zip(a, b, strict=True):
        assert x.score == pytest.approx(y.score, abs=1e-4)
        np.testing.assert_allclose(x.attention, y.attention[:, : x.attention.shape[1]], atol=1e-5)
        assert not y.attention[:, x.attention.shape[1] :].any()


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(MODELS), seed=st.integers(0, 99), beam=st.integers(1, 5), images=st.integers(1, 6),
    mode=st.sampled_from(["beam", "sample"]), no_repeat=st.integers(0, 3), low=st.integers(1, 4),
)  # fmt: skip
def test_a_batch_gives_what_single_images_give(name, seed, beam, images, mode, no_repeat, low):
    model, features = small_model(name, pieces=6, seed=seed, sharp=3.0), random_features(images, seed)
    config = SearchConfig(mode=mode, beam=beam, min_length=low, max_length=9, no_repeat=no_repeat)
    seeds = list(range(seed, seed + images))
    together = search(model, features, None, config, seeds)
    for i in range(images):
        (alone,) = search(model, features[i : i + 1], None, config, seeds[i : i + 1])
        equal(alone, together[i])
        for f in alone:
            assert low <= len(f.pieces) <= 9 or (no_repeat and not f.finished)
            assert not (no_repeat and repeats(tuple(f.pieces), no_repeat))
            assert f.attention.shape == (len(f.pieces), 4)
            np.testing.assert_allclose(f.attention.sum(1), 1, atol=1e-5)
            log_prob = log_probs(model, features[i : i + 1], [tuple(f.pieces)])
            assert f.log_prob == pytest.approx(float(log_prob), abs=1e-3)


def test_images_with_different_numbers_of_regions():
    """Padding and mask change nothing."""
    for name in MODELS:
        model = small_model(name, pieces=6)
        if isinstance(model, TransformerModel):
            model.places = Grid((), 1)  # regions have none
        several = [random_features(1, seed, positions=n)[0] for seed, n in enumerate((2, 5, 3))]
        features, mask = pad_features(several)
        assert mask is not None
        config = SearchConfig(beam=3, max_length=7)
        for alone, found in zip(several, search(model, features, mask, config), strict=True):
            equal(search(model, alone[None], None, config)[0], found)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("temperature, top_k", [(1.0, 0), (0.5, 0), (2.0, 3)])
def test_samples_follow_the_distribution(name, temperature, top_k):
    pieces, count = 4, 4000
    model, features = small_model(name, pieces=pieces, sharp=2.0), random_features(1)
    with torch.no_grad():
        first = model(batch_of(model, features, [()]))[0][0].double()
        second = [model(batch_of(model, features, [(a,)]))[0][1].double() for a in range(pieces)]

    def probabilities(logits: torch.Tensor) -> torch.Tensor:
        logits = logits / temperature
        if top_k:
            logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
        return logits.softmax(0)

    first[model.edge] = -torch.inf  # min_length=1
    expected = {(a, b): p * q for a, p in enumerate(probabilities(first).tolist()) if a < pieces
                for b, q in enumerate(probabilities(second[a]).tolist())}  # fmt: skip
    config = SearchConfig(mode="sample", beam=count, max_length=2, temperature=temperature, top_k=top_k)
    (found,) = search(model, features, None, config, seeds=[3])
    assert len(found) == count
    seen = dict.fromkeys(expected, 0)
    for f in found:
        seen[(f.pieces[0], f.pieces[1] if len(f.pieces) > 1 else model.edge)] += 1
    for outcome, p in expected.items():
        assert abs(seen[outcome] / count - p) <= 4.5 * (p * (1 - p) / count) ** 0.5, (outcome, p)


def test_the_first_sample_is_a_draw_like_any_other():
    """The first of three is neither the likeliest nor the shortest more often than the others."""
    model, features = small_model("transformer", pieces=6, sharp=2.0), random_features(1).expand(600, -1, -1)
    found = search(model, features, None, SearchConfig(mode="sample", beam=3, max_length=12))
    for measure in (lambda f: f.score, lambda f: -len(f.pieces)):
        values = np.array([[measure(f) for f in drawn] for drawn in found])
        alone = values[(values == values.max(1, keepdims=True)).sum(1) == 1]  # no two of them share the first place
        share = np.bincount(alone.argmax(1), minlength=3) / len(alone)
        np.testing.assert_allclose(share, 1 / 3, atol=0.08)
    assert all(best(drawn).score == max(f.score for f in drawn) for drawn in found)


def test_seed_of_samples():
    model, features = small_model("transformer", pieces=9, sharp=2.0), random_features(3)
    one = SearchConfig(mode="sample", beam=2, max_length=12)
    a, b = (search(model, features, None, one) for _ in range(2))
    assert [[f.pieces for f in x] for x in a] == [[f.pieces for f in x] for x in b]
    c = search(model, features, None, replace(one, seed=77))
    assert [[f.pieces for f in x] for x in a] != [[f.pieces for f in x] for x in c]


@pytest.mark.parametrize(
    "options", [{"beam": 0}, {"temperature": 0.0}, {"min_length": 5, "max_length": 3}, {"min_length": 0}, {"seed": -1}]
)
def test_impossible_searches(options):
    with pytest.raises(UserError, match="search: "):
        SearchConfig(**options)


@pytest.mark.parametrize("name", MODELS)
def test_shared_images_give_the_loss_of_separate_ones(name):
    model, features = small_model(name, pieces=5), random_features(2)
    caption = batch_of(model, features, [(0, 1), (2,), (3, 4)])
    shared = caption._replace(images=torch.tensor([0, 1, 0]))
    separate = caption._replace(features=features[[0, 1, 0]], images=torch.arange(3))
    torch.testing.assert_close(model(shared)[0], model(separate)[0])


def test_doubly_stochastic_penalty():
    """It is 0 exactly where every position gets attention 1 over a caption; padding does not count."""
    model = small_model("sat", pieces=5)
    torch.nn.init.zeros_(model.energy.weight)  # type: ignore[union-attr,arg-type]
    features = random_features(1)
    for length in (1, 3, 6):  # uniform attention: (length + 1) / 4 at every one of 4 positions
        batch = batch_of(model, features, [tuple([0] * length), tuple([1] * length)])
        assert model(batch)[1].item() == pytest.approx((1 - (length + 1) / 4) ** 2, abs=1e-6)
    mixed = batch_of(model, features, [(0, 0, 0), (1,)])
    assert model(mixed)[1].item() == pytest.approx((0 + 0.25) / 2, abs=1e-6)


def test_the_encoder_reads_positions_both_ways_and_stops_at_padding():
    """Against the equations of an LSTM (Hochreiter & Schmidhuber 1997, with forget gates), written out."""
    torch.manual_seed(0)
    layer, x = torch.nn.LSTM(6, 4, batch_first=True, bidirectional=True), random_features(2, positions=5)
    mask = torch.arange(5) < torch.tensor([5, 3])[:, None]
    out, cells = read(layer, x, mask)
    for image, length in ((0, 5), (1, 3)):
        for way, suffix in ((slice(0, 4), ""), (slice(4, 8), "_reverse")):
            w, u, b, c = (getattr(layer, f"{n}_l0{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            hidden, cell = torch.zeros(4), torch.zeros(4)
            for at in range(length) if not suffix else range(length - 1, -1, -1):
                enter, forget, new, emit = (w @ x[image, at] + b + u @ hidden + c).chunk(4)
                cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
                hidden = emit.sigmoid() * cell.tanh()
                torch.testing.assert_close(out[image, at, way], hidden)
            torch.testing.assert_close(cells[image, way], cell)
    assert not out[1, 3:].any()
    torch.testing.assert_close(read(layer, x[1:, :3], None)[0], out[1:, :3])


def test_a_pyramid_halves_the_positions_and_shows_attention_over_all():
    torch.manual_seed(0)
    model = Xnmt(small_xnmt(5, pyramid=2)).eval()
    state = model.start(random_features(2, positions=8), None, 3)
    assert state.features.shape == (2, 2, 8)
    _, attention, _ = model.step(torch.full((2, 3), model.edge), state)
    assert attention.shape == (2, 3, 8)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(attention[..., :4], attention[..., :1].expand(-1, -1, 4))
    with pytest.raises(UserError, match=r"pyramid=2: it joins positions by 4, but these images have 6; use"):
        model.start(random_features(1, positions=6), None, 1)
    with pytest.raises(UserError, match="have 8 or fewer"):
        model.start(random_features(1, positions=8), torch.ones(1, 8, dtype=torch.bool), 1)


def test_xnmt_as_configured_has_the_sizes_of_its_paper():
    """Hasegawa-Johnson et al. 2017, over VGG-16's positions of 512 numbers, for 41 phones and the edge."""
    config = load_config(XnmtConfig, ROOT / "conf" / "i2u_xnmt.yaml", ["feature_dim=512", "pieces=41"])
    sizes = {name: tuple(values.shape) for name, values in Xnmt(config).named_parameters()}
    lstm = [(4 * 64, 512), (4 * 64, 64)]
    for direction in ("", "_reverse"):  # one layer, 64 in each direction
        assert [sizes[f"encoder.0.weight_{part}_l0{direction}"] for part in ("ih", "hh")] == lstm
    assert not any(name.startswith("encoder.1") or "_l1" in name for name in sizes)
    # The attention's two hidden layers of 128: of both that it compares, and of what comes of it.
    assert (sizes["key.weight"], sizes["query.weight"], sizes["energy.1.weight"]) == ((128, 128),) * 3
    assert sizes["energy.3.weight"] == (1, 128)
    assert sizes["decoder.weight_hh"] == (4 * 128, 128) and sizes["decoder.weight_ih"] == (4 * 128, 128 + 128)
    assert sizes["out.0.weight"] == (1024, 128 + 128) and sizes["out.3.weight"] == (42, 1024)


def test_impossible_sizes_of_xnmt():
    for options in ({"encoder_dim": 7}, {"pyramid": -1}):
        with pytest.raises(UserError, match="must be"):
            small_xnmt(5, **options)


# ---- from folders


@pytest.fixture
def corpus(tmp_path) -> Path:
    """A data directory of images of four kinds, each kind with one way of saying it, and its units with a BPE."""
    rng = np.random.default_rng(0)
    says = [[0, 4, 5, 0, 4], [1, 6, 5], [2, 4, 6, 7, 2, 3], [3, 7]]
    units, data = tmp_path / "units", tmp_path / "data"
    units.mkdir()
    np.save(units / "codebook.npy", rng.normal(size=(8, 3)).astype(np.float32))
    bpe = UnitBpe.train(says * 3, 8, 11, units / "bpe.model")
    for split, count in (("train", 16), ("dev", 4)):
        images = {f"i{n:02}": n % 4 for n in range(count)}
        with write_ark(data / split / "image_feats.ark", data / split / "image_feats.scp") as write:
            for name, kind in images.items():
                features = 0.1 * rng.normal(size=(4, 6))
                features[kind, kind] += 3
                write(name, features.astype(np.float32))
        manifest = {"kind": "test", "grid": [2, 2], "dim": 6, "weights": "none"}
        (data / split / "image_feats.json").write_text(json.dumps(manifest))
        captions = {f"{name}-{j}": name for name in images for j in range(2)}
        write_table(data / split / "utt2image", captions)
        write_int_table(units / split / "units", {u: says[images[i]] for u, i in captions.items()})
    save_manifest(
        units,
        {
            "kind": "units", "method": "kmeans", "inventory": sha256(units / "codebook.npy"),
            "size": 8, "bpe_size": bpe.size,
        },
    )  # fmt: skip
    return tmp_path


TINY = {
    "transformer": ["d_model=16", "layers=1", "heads=2", "d_ff=32", "dropout=0", "lr=0.01", "feature_dropout=0"],
    "sat": ["embed_dim=16", "hidden_dim=16", "attention_dim=16", "dropout=0.1", "lr=0.02"],
    "xnmt": ["encoder_dim=16", "embed_dim=16", "hidden_dim=16", "attention_dim=16", "mlp_dim=32", "lr=0.02"],
}


def train(corpus: Path, monkeypatch, *options: str, name: str = "transformer", model: str = "m") -> Path:
    argv = ["train_i2u", "--i2u", name, "--overrides", *TINY[name], "batch_size=8", "warmup_steps=5", *options, "--"]
    monkeypatch.setattr(sys, "argv", [*argv, *(str(corpus / part) for part in ("data", "units", model))])
    train_i2u.main()
    return corpus / model


@pytest.mark.parametrize("name, bpe", [("transformer", True), ("sat", False), ("xnmt", False)])
def test_learns_and_speaks_from_its_folder(corpus, monkeypatch, name, bpe):
    if not bpe:
        manifest = json.loads((corpus / "units/manifest.json").read_text())
        save_manifest(corpus / "units", manifest | {"bpe_size": 0})
    folder = train(corpus, monkeypatch, "epochs=30", name=name)
    (corpus / "units").rename(corpus / "elsewhere")  # the model's folder is complete
    model = i2u.load(folder)
    assert model.manifest["image_feats"]["kind"] == "test" and model.manifest["units"]["size"] == 8
    rng = np.random.default_rng(5)
    features = [(0.1 * rng.normal(size=(4, 6))).astype(np.float32) for _ in range(4)]
    for kind in range(4):
        features[kind][kind, kind] += 3
    said = [h[0] for h in model.generate(features, SearchConfig(beam=3, batch_size=3))]
    assert [h.units for h in said] == [[0, 4, 5, 0, 4], [1, 6, 5], [2, 4, 6, 7, 2, 3], [3, 7]]
    for hypothesis in said:
        assert hypothesis.finished and hypothesis.attention.shape == (len(hypothesis.units), 4)
        assert hypothesis.attention.dtype == np.float32
        np.testing.assert_allclose(hypothesis.attention.sum(1), 1, atol=1e-5)
    sample = SearchConfig(mode="sample", beam=4, temperature=2.0)
    alone = model.generate(features[2:3], sample)[0]
    assert [h.units for h in alone] == [h.units for h in model.generate(features, sample)[2]]
    with pytest.raises(UserError, match="trained on 6 columns"):
        model.generate([np.zeros((4, 5), np.float32)], SearchConfig())
    if name == "transformer":
        with pytest.raises(UserError, match="grid of 2 x 2"):
            model.generate([np.zeros((5, 6), np.float32)], SearchConfig())


def test_descriptions_that_were_cut_off_are_told(corpus, monkeypatch, caplog):
    """Untrained, no sequence has an end within two pieces; one that is free to end at once has one."""
    model = train(corpus, monkeypatch, "epochs=1", "lr=1e-9")
    save_manifest(corpus / "u2s", {"kind": "u2s", "units": load_manifest(model, "i2u")["units"]})
    folders = [corpus / part for part in ("data/dev", "m", "u2s", "system", "out")]
    for least, told in (("2", True), ("1", False)):
        search = [f"min_length={least}", "max_length=2", "length_penalty=0", "beam=12"]
        monkeypatch.setattr(sys, "argv", ["generate", "--search", *search, "--", *map(str, folders)])
        caplog.clear()
        generate.main()
        images = json.loads((corpus / "out/search.json").read_text())["images"]
        assert [image["finished"] for image in images.values()] == [not told] * 4
        assert ("4 of 4 descriptions have no end but were cut off, the first is of i00" in caplog.text) == told


def test_images_are_described_in_batches_of_the_search(corpus, monkeypatch):
    model = train(corpus, monkeypatch, "epochs=1")
    save_manifest(corpus / "u2s", {"kind": "u2s", "units": load_manifest(model, "i2u")["units"]})
    folders = [corpus / part for part in ("data/train", "m", "u2s", "system", "out")]
    monkeypatch.setattr(sys, "argv", ["generate", "--search", "batch_size=7", "--", *map(str, folders)])
    sizes, describe = [], ImageToUnits.generate

    def counted(self, features, config):
        sizes.append(len(features))
        return describe(self, features, config)

    monkeypatch.setattr(ImageToUnits, "generate", counted)
    generate.main()
    assert sizes == [7, 7, 2]


def test_what_is_said_is_the_best_of_samples(corpus, monkeypatch):
    model = train(corpus, monkeypatch, "epochs=1")
    save_manifest(corpus / "u2s", {"kind": "u2s", "units": load_manifest(model, "i2u")["units"]})
    search = ["mode=sample", "beam=6", "max_length=9"]
    folders = [corpus / part for part in ("data/train", "m", "u2s", "system", "out")]
    monkeypatch.setattr(sys, "argv", ["generate", "--samples", "6", "--search", *search, "--", *map(str, folders)])
    generate.main()
    images = Matrices(corpus / "data/train/image_feats.scp")
    config = SearchConfig(mode="sample", beam=6, max_length=9)
    found = dict(zip(images, i2u.load(model).generate(list(images.values()), config), strict=True))
    units = read_int_table(corpus / "out/units")
    assert units == {name: best(drawn).units for name, drawn in found.items()}
    for place in range(6):
        sample = read_int_table(corpus / f"out/samples/{place + 1}")
        assert sample == {name: drawn[place].units for name, drawn in found.items()}
        assert sample != units


def test_attention_of_pieces_and_runs(corpus, monkeypatch):
    """A piece's attention is repeated over its units; equal units side by side become one, its attention their mean."""
    model = ImageToUnits(train(corpus, monkeypatch, "epochs=1"))
    assert model.bpe is not None
    pieces = [model.bpe.encode([u])[0] for u in (3, 3, 1)]
    long = next(p for p in range(model.bpe.size) if len(model.bpe.decode([p])) > 1)
    looked = np.eye(4, dtype=np.float32)
    made = model._hypothesis(Found([*pieces, long], -1.0, -5.0, looked, True))
    tail = model.bpe.decode([long])
    assert made.units == [3, 1, *tail]
    np.testing.assert_array_equal(made.attention, [[0.5, 0.5, 0, 0], [0, 0, 1, 0], *([[0, 0, 0, 1]] * len(tail))])


def test_killed_and_resumed_training_ends_in_the_same_weights(corpus, monkeypatch):
    whole = train(corpus, monkeypatch, "epochs=4", "dropout=0.3", model="whole")
    calls = itertools.count()
    step = TransformerModel.training_step

    def dying(self, batch, index):
        if next(calls) == 9:
            raise KeyError("killed")
        return step(self, batch, index)

    monkeypatch.setattr(TransformerModel, "training_step", dying)
    with pytest.raises(KeyError):
        train(corpus, monkeypatch, "epochs=4", "dropout=0.3", model="killed")
    assert not (corpus / "killed/manifest.json").exists()
    monkeypatch.setattr(TransformerModel, "training_step", step)
    killed = train(corpus, monkeypatch, "epochs=4", "dropout=0.3", model="killed")
    for name in ("best", "last"):
        a, b = (torch.load(f / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"] for f in (whole, killed))
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert (whole / "config.yaml").read_bytes() == (killed / "config.yaml").read_bytes()
    assert (whole / "manifest.json").read_bytes() == (killed / "manifest.json").read_bytes()


def test_data(corpus, caplog):
    with (corpus / "data/train/utt2image").open("a") as f:
        f.write("zz-0 nowhere\n")
    with (corpus / "units/train/units").open("a") as f:
        f.write("zz-0 1 2\n")
    held, read = (Captions(corpus / "data/train", corpus / "units/train", 8, None, size) for size in (1e9, 0))
    assert "1 of 33 utterances have no image features" in caplog.text
    assert len(held) == 32
    items = [held[i] for i in (0, 1, 4)]
    batch, again = held.collate(items), read.collate(items)
    assert batch.features.shape == (2, 4, 6) and batch.images.tolist() == [0, 0, 1]  # one image, two captions
    assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True) if a is not None)
    assert batch.inputs[0].tolist() == [8, 0, 4, 5, 0, 4, 8][: batch.inputs.shape[1]]
    assert (
        batch.targets[0][:6].tolist() == [0, 4, 5, 0, 4, 8]
        and batch.targets[2][:8].tolist() == [2, 4, 6, 7, 2, 3, 8][:8]
    )
    with pytest.raises(UserError, match=r"outside 0 \.\. 4"):
        Captions(corpus / "data/train", corpus / "units/train", 5, None, 0)


@pytest.mark.parametrize("size", [1e9, 0])
def test_training_sees_images_in_all_their_views(corpus, size):
    """View v of an image is its features plus 10 v here, so that a batch tells which views it shows."""
    data, units = corpus / "data/train", corpus / "units/train"
    originals = Matrices(data / "image_feats.scp")
    with write_ark(data / "image_views.ark", data / "image_views.scp") as write:
        for name, matrix in originals.items():
            write(name, np.concatenate([matrix + 10, matrix + 20]))
    captions = Captions(data, units, 8, None, size, augment=True)
    plain = Captions(data, units, 8, None, size)
    seen = set()
    for epoch in range(6):
        loader = captions.loader(replace(TransformerConfig(), batch_size=8), shuffle=True)
        loader.batch_sampler.set_epoch(epoch)
        for batch, again in zip(loader, loader, strict=True):
            assert torch.equal(batch.features, again.features)  # nothing is drawn
            shown = (batch.features.float().mean((1, 2)) / 10).round().int().tolist()
            seen.update(shown)
    assert seen == {0, 1, 2}
    batch, same = captions.collate([captions[0]]), plain.collate([plain[0]])
    view = batch.features - same.features
    assert torch.allclose(view.float(), view.float().mean().expand_as(view), atol=0.1)
    assert torch.equal(captions.features.statistics()[0], plain.features.statistics()[0])

    with write_ark(data / "image_views.ark", data / "image_views.scp") as write:
        for name, matrix in originals.items():
            write(name, matrix[:3])
    with pytest.raises(UserError, match=r"image_views.scp: i00: shape \(3, 6\) does not fit"):
        Captions(data, units, 8, None, size, augment=True)


@pytest.mark.parametrize("size, read", [(960, []), (959, ["dev"]), (767, ["train"])])
def test_memory_for_features_is_given_once(corpus, monkeypatch, caplog, size, read):
    """Those of train take 768 bytes here, those of dev 192."""
    caplog.set_level("INFO")
    train(corpus, monkeypatch, "epochs=1", f"cache_gb={size * 1e-9}")
    assert [
        s for s in ("train", "dev") if f"data/{s}/image_feats.scp: too large for what is left" in caplog.text
    ] == read


def test_mistakes_are_named(corpus, monkeypatch):
    with pytest.raises(UserError, match="unknown key 'd_modell'; did you mean d_model"):
        train(corpus, monkeypatch, "d_modell=3")
    with pytest.raises(UserError, match="twice heads"):
        train(corpus, monkeypatch, "d_model=18")
    with pytest.raises(UserError, match="model: expected"):
        train(corpus, monkeypatch, "model=sat")
    with pytest.raises(UserError, match="no finished model"):
        i2u.load(corpus / "m")
    train(corpus, monkeypatch, "epochs=1")
    with pytest.raises(UserError, match="another configuration or other data"):
        train(corpus, monkeypatch, "epochs=2")
    (corpus / "m/bpe.model").write_bytes(b"?")
    with pytest.raises(UserError, match="bpe"):
        i2u.load(corpus / "m")
    other = json.dumps({"kind": "vgg19", "grid": [2, 2], "dim": 6, "weights": "none"})
    (corpus / "data/dev/image_feats.json").write_text(other)
    with pytest.raises(UserError, match="image features' kind differ"):
        train(corpus, monkeypatch, model="n")
    np.save(corpus / "units/codebook.npy", np.zeros((8, 3), np.float32))
    with pytest.raises(UserError, match=r"codebook\.npy: missing, or not the one"):
        train(corpus, monkeypatch, model="n")


@pytest.mark.parametrize("name", MODELS)
def test_project_configurations(name):
    part = i2u.IMAGE_TO_UNIT.get(name)
    for path in sorted((ROOT / "conf").glob(f"i2u_{name}*.yaml")):
        part(load_config(part.config_class, path, ["pieces=5", "feature_dim=6", "grid=[2,2]"]))


def test_step_runs_and_is_skipped_when_done(corpus):
    """Over two processes, as over two GPUs: they share the batches, one of them logs and writes."""
    command = [ROOT / "steps/train_i2u.sh", "--overrides", " ".join([*TINY["transformer"], "epochs=2", "devices=2"])]
    command += [corpus / part for part in ("data", "units", "m")]
    for expected in ("training transformer", "up to date"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and expected in done.stderr, done.stderr
    log = (corpus / "m/train.log").read_text()
    assert log.count("epoch 2/2: train loss") == 1 and "Warning" not in log, log
    assert sorted(p.name for p in (corpus / "m").iterdir()) == [
        ".done", "bpe.model", "checkpoints", "config.yaml", "manifest.json", "tensorboard", "train.log"
    ]  # fmt: skip
    for options, message in ((("--i2u", "lstm"), "lstm"), (("--ngpu", "99"), "--ngpu 99: CUDA finds ")):
        wrong = subprocess.run([command[0], *options, *command[-3:]], cwd=ROOT, capture_output=True, text=True)
        assert wrong.returncode != 0 and message in wrong.stderr and "Traceback" not in wrong.stderr, wrong.stderr
