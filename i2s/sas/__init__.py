"""Show and Speak: from an image straight to a log-mel spectrogram."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from i2s.config import load_config
from i2s.modeldir import load_manifest

if TYPE_CHECKING:
    from i2s.sas.model import ShowAndSpeak


def load(folder: str | Path) -> ShowAndSpeak:
    """The finished model in `folder`, in evaluation mode. Raises UserError if there is none or it does not load."""
    import torch

    from i2s.sas.model import SasConfig, ShowAndSpeak
    from i2s.train.fit import load_weights

    folder = Path(folder)
    manifest = load_manifest(folder, "sas")
    model = ShowAndSpeak(load_config(SasConfig, folder / "config.yaml"))
    load_weights(model, folder / manifest["checkpoint"])
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
