"""Measures of speech: distances that are what they are named, lengths, endings, repetitions, noise without words."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from i2s.audio import read_wav, write_wav
from i2s.bin import make_noise, measure_speech
from i2s.bin.score import unfinished_of
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.score import speech
from i2s.score.run import Spoken, _speech_row
from i2s.score.speech import SpeechStats, cut_off, read_stats, repeats, speech_stats

RATE = 16000


def vowel(f0: float, seconds: float = 1.0, formant: float = 700.0, seed: int = 0) -> np.ndarray:
    """A voiced sound (N,): harmonics of f0 under one resonance, faded in and out, with a little noise."""
    t = np.arange(int(RATE * seconds)) / RATE
    harmonics = np.arange(1, int(6000 / f0))
    gains = 1 / (1 + ((harmonics * f0 - formant) / 400) ** 2)
    wav = (gains[:, None] * np.sin(2 * np.pi * f0 * harmonics[:, None] * t)).sum(0)
    wav = 0.3 * wav / np.abs(wav).max() * np.minimum(1, 20 * np.minimum(t, t[::-1]))
    return (wav + 1e-4 * np.random.default_rng(seed).standard_normal(len(t))).astype(np.float32)


def distances(stats: SpeechStats) -> tuple[float, float, float]:
    """MCD in dB, F0 error in cents, voicing error as a share."""
    return stats.distortion / stats.frames, (stats.f0 / max(1, stats.voiced)) ** 0.5, stats.voicing / stats.frames


def test_distances_from_itself_are_zero() -> None:
    wav = vowel(150)
    assert distances(speech_stats(wav, RATE, wav)) == pytest.approx((0, 0, 0), abs=1e-6)


def test_f0_error_is_in_cents_and_the_envelope_hardly_moves() -> None:
    distortion, cents, voicing = distances(speech_stats(vowel(150), RATE, vowel(150 * 2 ** (1 / 12))))
    assert cents == pytest.approx(100, abs=10)  # a semitone
    assert voicing < 0.1
    other, _, _ = distances(speech_stats(vowel(150), RATE, vowel(150, formant=1800)))
    assert other > 2 * distortion


def test_louder_speech_is_no_other_speech() -> None:
    wav = vowel(150)
    assert distances(speech_stats(wav, RATE, 0.5 * wav))[0] < 0.5


def test_alignment_forgives_another_tempo() -> None:
    slow, _, _ = distances(speech_stats(vowel(150, 1.5), RATE, vowel(150, 1.0)))
    other, _, _ = distances(speech_stats(vowel(150, 1.5), RATE, vowel(150, 1.0, formant=1800)))
    assert slow < 0.5 * other


def test_mel_cepstrum_is_a_spectral_difference_in_decibels() -> None:
    """A difference of a few mel-cosines has its root mean square, in dB, as distortion."""
    bins = 513
    mel = 2595 * np.log10(1 + np.linspace(0, RATE / 2, bins) / 700)
    ripple = 6 * np.cos(3 * np.pi * mel / mel[-1])
    assert np.linalg.norm(ripple @ speech._mel_cepstrum(RATE, bins)) == pytest.approx(6 / 2**0.5, rel=0.02)


def test_an_abrupt_end_is_seen() -> None:
    wav = vowel(150)
    assert not cut_off(wav, RATE)
    assert cut_off(wav[: RATE // 2], RATE)
    assert not cut_off(np.zeros(100, np.float32), RATE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a man in a blue shirt", False),
        ("a very very big dog", False),
        ("a dog dog dog", True),
        ("a man in a man in the snow", True),
        ("", False),
        ("1 2 1 2", True),
    ],
)
def test_repetitions(text: str, expected: bool) -> None:
    assert repeats(text) == expected


def test_measuring_a_folder_and_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wavs = {"a": vowel(150), "b": vowel(120, 0.5)[: RATE // 4]}
    for key, wav in wavs.items():
        write_wav(tmp_path / f"{key}.wav", wav, RATE)
        write_wav(tmp_path / f"r{key}.wav", vowel(150, seed=1), RATE)
    write_table(tmp_path / "wav.scp", {key: tmp_path / f"{key}.wav" for key in wavs})
    write_table(tmp_path / "recordings", {key: tmp_path / f"r{key}.wav" for key in wavs})
    arguments = ["--recordings", tmp_path / "recordings", tmp_path / "wav.scp", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["measure_speech", *map(str, arguments)])
    measure_speech.main()
    stats = read_stats(tmp_path / "out")
    assert stats["a"].seconds == 1 and stats["b"].cut_off == 1 and stats["a"].frames >= 100
    row = _speech_row(["a", "b", "c"], Spoken("s", "s", "system", stats, {"a": "x x x", "b": "y"}, {"b"}))
    values = {name: measure.value for name, measure in row.measures.items()}
    assert values["seconds"] == pytest.approx(0.625) and values["cut off"] == 50 and values["repeating"] == 50
    assert values["unfinished"] == pytest.approx(100 / 3)
    assert values["MCD"] == pytest.approx(
        sum(s.distortion for s in stats.values()) / sum(s.frames for s in stats.values())
    )
    assert "DNSMOS" not in values
    write_table(tmp_path / "recordings", {"a": tmp_path / "ra.wav"})
    with pytest.raises(UserError, match="lacks b"):
        measure_speech.main()
    write_table(tmp_path / "out", {"a": "1 2 3 4 5 6 7 8 9"})
    with pytest.raises(UserError, match="expected 8 numbers"):
        read_stats(tmp_path / "out")


def test_what_was_cut_off_as_units_or_as_speech(tmp_path: Path) -> None:
    assert unfinished_of(tmp_path) is None
    images = {"a": {"score": -1.0, "finished": True}, "b": {"score": -9.0, "finished": False}}
    (tmp_path / "search.json").write_text(json.dumps({"search": {}, "images": images}))
    assert unfinished_of(tmp_path) == {"b"}
    write_table(tmp_path / "failures", {"c": "no end within 1000 frames"})
    assert unfinished_of(tmp_path) == {"b", "c"}


def test_predicted_quality_where_speechmos_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def predict(wav: np.ndarray, rate: int) -> dict[str, float]:
        asked.append((len(wav), rate))
        return {"ovrl_mos": 3.5, "p808_mos": 1.0}

    package = types.ModuleType("speechmos")
    package.dnsmos = types.SimpleNamespace(run=predict)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "speechmos", package)
    speech._dnsmos.cache_clear()
    try:
        assert speech_stats(np.zeros(8000, np.float32), 8000).mos == 3.5
        assert asked == [(16000, 16000)]
    finally:
        speech._dnsmos.cache_clear()


def test_noise_is_as_long_and_loud_and_holds_nothing_of_the_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav = (0.1 * np.random.default_rng(0).standard_normal(14400)).astype(np.float32)
    for i in range(7):
        write_wav(tmp_path / f"{i}.wav", wav, RATE)
    write_table(tmp_path / "wav.scp", {str(i): tmp_path / f"{i}.wav" for i in range(7)})
    monkeypatch.setattr(
        sys, "argv", ["make_noise", "--number", "3", str(tmp_path / "wav.scp"), str(tmp_path / "noise")]
    )
    make_noise.main()
    made = {key: read_wav(path)[0] for key, path in read_table(tmp_path / "noise/wav.scp").items()}
    assert list(made) == ["0", "2", "4"]
    for noise in made.values():
        assert len(noise) == len(wav)
        assert np.sqrt((noise**2).mean()) == pytest.approx(np.sqrt((wav**2).mean()), rel=0.05)
        assert abs(np.corrcoef(noise, wav)[0, 1]) < 0.3
    assert abs(np.corrcoef(made["0"], made["2"])[0, 1]) < 0.3
