"""Pictures and sounds of the page: files in a folder beside it, or embedded in it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import soundfile
from PIL import Image

from i2s.audio import read_wav
from i2s.errors import UserError
from i2s.images import open_image

PHOTO_SIZE = 448  # longest side in pixels
SILENCE = 1e-3  # the loudest sample of speech that cannot be heard: -60 dB

_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".wav": "audio/wav"}


@dataclass
class Sound:
    """Speech of the page: its address, length in seconds, spectrogram's address, and whether it is silent."""

    address: str
    seconds: float
    spectrogram: str | None
    silent: bool


class Media:
    """Takes media and gives the addresses that the page has them by: relative paths, or data: URLs if `embed`."""

    def __init__(self, folder: Path, embed: bool = False):
        self.folder, self.embed = folder, embed

    def add(self, name: str, content: bytes) -> str:
        """Keep `content` as `name`, whose suffix tells its type; returns its address."""
        if self.embed:
            return f"data:{_TYPES[Path(name).suffix]};base64,{base64.b64encode(content).decode()}"
        path = self.folder / "media" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return f"media/{name}"

    def photo(self, path: str, name: str) -> str:
        """A photo, made small."""
        photo = open_image(path)
        photo.thumbnail((PHOTO_SIZE, PHOTO_SIZE))
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=85)
        return self.add(f"{name}.jpg", buffer.getvalue())

    def sound(self, wav: str, mel: np.ndarray | None, name: str) -> Sound:
        """A wav of 16 bits, with the picture of its log-mel (T, n).

        FLAC would be half the size, but Chromium fails to seek near the end of short files of it.
        Raises UserError if `wav` is a pipe or cannot be read.
        """
        if wav.endswith("|"):
            raise UserError(f"{wav}: a pipe; the report needs wav files")
        samples, rate = read_wav(wav)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
        picture = None
        if mel is not None and len(mel):
            picture = self.add(f"{name}.png", spectrogram(mel))
        silent = bool(np.abs(samples).max() < SILENCE)
        return Sound(self.add(f"{name}.wav", buffer.getvalue()), round(len(samples) / rate, 4), picture, silent)


def spectrogram(mel: np.ndarray) -> bytes:
    """A log-mel spectrogram (T, n_mels) as a PNG, low frequencies below, loudest brightest."""
    high = float(mel.max())
    low = max(float(mel.min()), high - 9.0)  # nepers; softer is not heard
    levels = np.clip((mel.T[::-1] - low) / max(high - low, 1e-6), 0, 1)
    picture = Image.fromarray((255 * levels).astype(np.uint8), "L").convert("P")
    palette = (255 * matplotlib.colormaps["magma"](np.arange(256))[:, :3]).astype(np.uint8)
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
