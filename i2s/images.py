"""Photos: opened with checks, upright, in RGB."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from i2s.errors import UserError

LEAST_CROP = 0.75  # of width and height, in another view of a photo
MAX_PIXELS = 200_000_000  # beyond the largest cameras; a small file can claim far more and fill the memory


def open_image(path: str | Path) -> Image.Image:
    """Read a JPEG, PNG, WebP, GIF, BMP or TIFF file as an upright RGB image, transparent parts on white.

    The EXIF rotation of phones and cameras is applied. Of an animation the first frame is taken.
    Raises UserError naming `path` for: no such file, empty, truncated or damaged, not an image, too many pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such image file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the image file is empty; fetch it again")
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # of Pillow, on odd metadata and on sizes that are checked here
            image = Image.open(file)
            if image.width * image.height > MAX_PIXELS:
                raise UserError(
                    f"{path}: {image.width}x{image.height} pixels are more than {MAX_PIXELS}; make it smaller"
                )
            image.load()
            return _rgb(_upright(image))
    except UnidentifiedImageError as e:
        raise UserError(f"{path}: not an image that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF)") from e
    except Image.DecompressionBombError as e:
        raise UserError(f"{path}: {e}; make it smaller") from e
    # Pillow's decoders report damage by any of these.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, TypeError) as e:
        raise UserError(f"{path}: truncated or damaged image: {e}; fetch it again") from e


def other_view(image: Image.Image, name: str, number: int) -> Image.Image:
    """The `number`-th changed copy of the photo `name`: a random part of it, mirrored as often as not.

    What is drawn depends on name and number alone.
    """
    rng = np.random.default_rng(zlib.crc32(f"{name} {number}".encode()))
    part = rng.uniform(LEAST_CROP, 1.0, 2)
    left, top = rng.uniform(0.0, 1.0 - part)
    width, height = image.size
    box = (left * width, top * height, (left + part[0]) * width, (top + part[1]) * height)
    view = image.crop(tuple(round(x) for x in box))
    return ImageOps.mirror(view) if rng.random() < 0.5 else view


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF of a whole picture; Pillow raises about anything here
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):  # 16-bit grey: to 8 bits by scaling, where Pillow would clip
        values = np.asarray(image)
        top = 255.0 if values.min() >= 0 and values.max() <= 255 else 65535.0
        image = Image.fromarray(np.clip(values * (255.0 / top), 0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image.convert("RGB")
