"""Speech as WORLD's parameters and back: mel-cepstrum, aperiodicity, F0 and voicing of each frame.

Morise, Yokomori and Ozawa 2016, "WORLD: A vocoder-based high-quality speech synthesis system for real-time
applications", by pyworld: DIO and StoneMask find F0, CheapTrick the spectral envelope, D4C the aperiodicity.
"""

from __future__ import annotations

import numpy as np
import pyworld

from i2s.errors import UserError

UNVOICED_LOG_F0 = float(np.log(150.0))  # where a whole recording has no voiced frame to interpolate from


class World:
    """The codec for speech at `sample_rate` Hz with a frame every `hop_length` samples.

    A frame is a row of `width` = order + bands + 2 numbers: `order` coefficients of the mel-cepstrum, the aperiodicity
    of each band in dB, the log of F0 (interpolated where nothing is voiced) and voicing (1 or 0). Raises UserError for
    a sample rate below 12 kHz, at which WORLD codes no aperiodicity.
    """

    def __init__(self, sample_rate: int, hop_length: int, order: int):
        self.sample_rate, self.hop_length, self.order = sample_rate, hop_length, order
        self.bands = pyworld.get_num_aperiodicities(sample_rate)
        if self.bands < 1:
            raise UserError(f"speech at {sample_rate} Hz: WORLD needs at least 12000 Hz; resample the recordings")
        self.n_fft = pyworld.get_cheaptrick_fft_size(sample_rate)
        self.width = order + self.bands + 2

    @property
    def frame_period(self) -> float:
        """Milliseconds."""
        return 1000 * self.hop_length / self.sample_rate

    def analyse(self, wav: np.ndarray) -> np.ndarray:
        """A waveform (N,) in [-1, 1] to float32 frames (N // hop_length, width), each centred on its own hop.

        They are the frames of `i2s.features.speech.log_mel`. Raises UserError if `wav` is shorter than one hop.
        """
        count = len(wav) // self.hop_length
        if not count:
            raise UserError(f"speech of {len(wav)} samples is too short: at least {self.hop_length} samples are needed")
        # WORLD's first frame lies at the first sample: that of the first hop's middle. Silence behind keeps the last.
        x = np.pad(wav.astype(np.float64)[self.hop_length // 2 :], (0, 2 * self.hop_length))
        f0, times = pyworld.dio(x, self.sample_rate, frame_period=self.frame_period)
        f0 = pyworld.stonemask(x, f0, times, self.sample_rate)[:count]
        times = times[:count]
        envelope = pyworld.cheaptrick(x, f0, times, self.sample_rate, fft_size=self.n_fft)
        aperiodicity = pyworld.d4c(x, f0, times, self.sample_rate, fft_size=self.n_fft)
        cepstrum = pyworld.code_spectral_envelope(envelope, self.sample_rate, self.order)
        bands = pyworld.code_aperiodicity(aperiodicity, self.sample_rate)
        voiced = f0 > 0
        log_f0 = np.full(count, UNVOICED_LOG_F0)
        if voiced.any():
            log_f0 = np.interp(np.arange(count), np.flatnonzero(voiced), np.log(f0[voiced]))
        return np.column_stack([cepstrum, bands, log_f0, voiced]).astype(np.float32)

    def synthesise(self, frames: np.ndarray) -> np.ndarray:
        """Frames (T, width) to a float32 waveform (T * hop_length,) in [-1, 1]; voiced is what is above a half."""
        x = np.ascontiguousarray(np.vstack([frames[:1], frames]), np.float64)  # (the first lies half a hop too late)
        cepstrum, bands, log_f0, voicing = np.split(x, np.cumsum([self.order, self.bands, 1]), axis=1)
        f0 = np.where(voicing > 0.5, np.exp(log_f0), 0.0)[:, 0]
        envelope = pyworld.decode_spectral_envelope(np.ascontiguousarray(cepstrum), self.sample_rate, self.n_fft)
        bands = np.ascontiguousarray(np.minimum(bands, 0.0))
        aperiodicity = pyworld.decode_aperiodicity(bands, self.sample_rate, self.n_fft)
        wav = pyworld.synthesize(f0, envelope, aperiodicity, self.sample_rate, self.frame_period)
        begin, size = self.hop_length // 2, len(frames) * self.hop_length
        wav = np.pad(wav, (0, max(0, begin + size - len(wav))))[begin : begin + size]
        return np.clip(wav, -1.0, 1.0).astype(np.float32)
