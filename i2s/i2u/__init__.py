"""Image to unit: models that say, in discrete units, what an image shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from i2s.registry import Part, Registry

if TYPE_CHECKING:
    from i2s.i2u.inference import ImageToUnits

IMAGE_TO_UNIT = Registry(
    "i2u",
    {
        "transformer": Part("i2s.i2u.transformer:TransformerModel", "Transformer decoder over image features"),
        "sat": Part("i2s.i2u.sat:ShowAttendTell", "Show, Attend and Tell: LSTM with soft attention (the reference)"),
        "xnmt": Part("i2s.i2u.xnmt:Xnmt", "BiLSTM, attention by an MLP, LSTM (Hasegawa-Johnson et al. 2017)"),
    },
)


def load(folder: str | Path) -> ImageToUnits:
    """Load a finished model folder, ready to generate. Raises UserError if there is none, or a damaged one."""
    from i2s.i2u.inference import ImageToUnits

    return ImageToUnits(folder)
