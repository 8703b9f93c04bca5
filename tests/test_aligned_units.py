"""Words and phones as units: alignment and phone recognition of real speech, TextGrids, CTM, phone maps, the stage."""

from __future__ import annotations

import functools
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from i2s.asr import resample
from i2s.audio import write_wav
from i2s.bin import align_units, compare_units
from i2s.corpus.ctm import SILENCE, Interval, frame_symbols, read_ctm, write_ctm
from i2s.corpus.tables import read_int_table, read_table, write_table
from i2s.errors import UserError
from i2s.modeldir import save_manifest
from i2s.units import load
from i2s.units.aligned import UNKNOWN, AlignedConfig, Alignments, Symbols, inputs
from i2s.units.phone_map import PhoneMap, read_columns
from i2s.units.phones import Aligner, PhoneRecogniser, Unalignable
from i2s.units.textgrid import read_textgrid

ROOT = Path(__file__).resolve().parent.parent
MAPS = ROOT / "conf/phone_maps"
RULES = {  # what speakers make of English phones that they lack
    "de": {"TH": "s", "DH": "z", "W": "v", "R": "ʁ"},
    "es": {"SH": "tʃ", "Z": "s", "V": "b", "HH": "x"},
    "fr": {"TH": "s", "DH": "z", "CH": "ʃ", "JH": "ʒ"},
    "it": {"TH": "t", "DH": "d", "HH": "k", "ZH": "dʒ"},
}
DOG = ["AH", "B", "R", "AW", "N", "D", "AO", "G", "R", "AH", "N", "Z"]


@functools.cache
def spoken(text: str) -> tuple[np.ndarray, int]:
    from hibari import Hibari

    return np.asarray(Hibari()(text, seed=0), np.float32), 24000


# --- times ----------------------------------------------------------------------------------------------------------


def test_ctm_is_read_as_written(tmp_path: Path) -> None:
    rows = {"b": [Interval("ɔ̃", 0.0, 0.25), Interval("don't", 0.25, 1.0)], "a": [Interval("x", 0.1, 0.2)]}
    write_ctm(tmp_path / "ctm", rows)
    assert (tmp_path / "ctm").read_text().splitlines()[0] == "a 1 0.100 0.100 x"
    assert read_ctm(tmp_path / "ctm") == rows


def test_what_other_aligners_write_for_silence_is_silence(tmp_path: Path) -> None:
    (tmp_path / "ctm").write_text(
        "a 1 0.0 0.1 sil\na 1 0.1 0.1 SIL_S\na 1 0.2 0.1 <eps>\na 1 0.3 0.1 spn\na 1 0.4 0.1 s\n"
    )
    (tmp_path / "noises").write_text("a 1 0.0 0.1 pau\na 1 0.1 0.1 int\na 1 0.2 0.1 p\nb 1 0 1 spk\n")
    assert [i.symbol for i in read_ctm(tmp_path / "ctm")["a"]] == [SILENCE] * 4 + ["s"]
    (tmp_path / "sentences").write_text("a 1 0.0 0.1 SIL\na 1 0.1 0.1 Dogs\na 1 0.2 0.1 sehen\na 1 0.3 0.1 Über\n")
    sentence = Alignments("words", AlignedConfig(alignments=str(tmp_path / "sentences")))
    said = [i.symbol for i in sentence.align("a", np.zeros(0, np.float32), 0)]
    assert said == [SILENCE, "dogs", "sehen", "über"]  # a word that begins a sentence is the same word
    assert read_ctm(tmp_path / "noises", only={"b"}).keys() == {"b"}
    none = np.zeros(0, np.float32)
    for kind, heard in (("phones-l2", [SILENCE, SILENCE, "p"]), ("words", ["pau", "int", "p"])):
        given = Alignments(kind, AlignedConfig(alignments=str(tmp_path / "noises")))
        assert [i.symbol for i in given.align("a", none, 0)] == heard
    with pytest.raises(Unalignable, match="nothing but silence"):
        Alignments("phones-l2", AlignedConfig(alignments=str(tmp_path / "noises"))).align("b", none, 0)


@pytest.mark.parametrize(
    "line, message",
    [
        ("a 1 0.0 x", "a: expected 'utterance-id channel begin duration symbol', got '1 0.0 x'"),
        ("a 1 zero 0.1 x", "a: expected"),
        ("a 1 0.1 -0.1 x", "a: expected"),
        ("a 1 nan 0.1 x", "a: expected"),
        ("a 1 0.0 0.5 x\na 1 0.4 0.5 y", "a: y begins at 0.400 s, before x ends at 0.500 s"),
    ],
)
def test_bad_ctm(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "ctm").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        read_ctm(tmp_path / "ctm")


def test_frames_have_the_symbol_at_their_middle_and_gaps_are_silence() -> None:
    row = [Interval("a", 0.1, 0.2), Interval("b", 0.2, 0.36), Interval("c", 0.5, 0.54)]
    assert frame_symbols(row, 7, 0.1) == [SILENCE, "a", "b", "b", SILENCE, SILENCE, SILENCE]
    assert frame_symbols([], 2, 0.1) == [SILENCE] * 2


def test_symbols(tmp_path: Path) -> None:
    symbols = Symbols.of(["b", "a", SILENCE, "b", "ɔ̃", "don't"])
    assert symbols.names == [SILENCE, UNKNOWN, "a", "b", "don't", "ɔ̃"]
    units, durations = symbols.units(
        [Interval("b", 0, 0.2), Interval("b", 0.2, 0.3), Interval("new", 0.3, 0.5)], 6, 0.1
    )
    assert (units.tolist(), durations.tolist()) == ([3, 1, 0], [3, 2, 1])
    symbols.save(tmp_path)
    assert Symbols.load(tmp_path).names == symbols.names
    for bad in ("a 0\nb 2\n", "a\n", "", "a 0\na 0\n"):
        (tmp_path / Symbols.WEIGHTS).write_text(bad)
        with pytest.raises(UserError, match="numbered from 0"):
            Symbols.load(tmp_path)


# --- TextGrids ------------------------------------------------------------------------------------------------------


def grid(path: Path, **tiers: list[tuple[float, float, str]]) -> Path:
    """A TextGrid of 2 s in the long form, as aligners write it."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", "xmax = 2", "tiers? <exists>"]
    lines += [f"size = {len(tiers)}", "item []:"]
    for n, (name, rows) in enumerate(tiers.items(), 1):
        lines += [f"    item [{n}]:", '        class = "IntervalTier"', f'        name = "{name}"', "        xmin = 0"]
        lines += ["        xmax = 2", f"        intervals: size = {len(rows)}"]
        for i, (begin, end, text) in enumerate(rows, 1):
            lines += [f"        intervals [{i}]:", f"            xmin = {begin}", f"            xmax = {end}"]
            lines += [f'            text = "{text}"']
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_textgrids_with_gaps_and_empty_intervals(tmp_path: Path) -> None:
    path = grid(tmp_path / "a.TextGrid", words=[(0, 2, "dog")], phones=[(0, 0.3, ""), (0.3, 0.5, "d"), (0.8, 2, "ɔ")])
    assert read_textgrid(path, "words") == [Interval("dog", 0, 2)]
    phones = read_textgrid(path, "phones")
    assert [i for i in phones if i.symbol != SILENCE] == [Interval("d", 0.3, 0.5), Interval("ɔ", 0.8, 2)]
    assert frame_symbols(phones, 10, 0.2) == [SILENCE, "d", SILENCE, SILENCE, *["ɔ"] * 6]


def test_textgrids_of_several_speakers(tmp_path: Path) -> None:
    tiers = {"ann - words": [(0, 1, "hello"), (1, 2, "")], "bob - words": [(0, 1.2, "sil"), (1.2, 2, "you")]}
    path = grid(tmp_path / "a.TextGrid", **tiers)
    assert read_textgrid(path, "words") == [Interval("hello", 0, 1), Interval("you", 1.2, 2)]


def test_bad_textgrids(tmp_path: Path) -> None:
    path = grid(tmp_path / "a.TextGrid", words=[(0, 2, "dog")])
    with pytest.raises(UserError, match=r"a\.TextGrid: no tier of intervals is named phones; there are: words"):
        read_textgrid(path, "phones")
    with pytest.raises(UserError, match="no such TextGrid"):
        read_textgrid(tmp_path / "b.TextGrid", "phones")
    for damaged in ("", "what?", path.read_text()[:200], path.read_text().replace("xmax = 2\n        int", "int")):
        path.write_text(damaged)
        with pytest.raises(UserError, match=r"a\.TextGrid: "):
            read_textgrid(path, "words")
    whole = grid(path, words=[(0, 1, "dog"), (1, 1.5, "runs"), (1.5, 2, "off")])
    assert len(read_textgrid(whole, "words")) == 3
    text = whole.read_text()
    whole.write_text(text[: text.index("        intervals [3]")])
    with pytest.raises(UserError, match=r"a\.TextGrid: cut short: tier words has 2 of its 3 intervals"):
        read_textgrid(whole, "words")
    short = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", "2", "<exists>", "1", '"IntervalTier"']
    short += ['"words"', "0", "2", "2", "0", "1", '"dog"', "1", "2", '"runs"']
    path.write_text("\n".join(short) + "\n")
    assert read_textgrid(path, "words") == [Interval("dog", 0, 1), Interval("runs", 1, 2)]
    path.write_text("\n".join(short[:-3]) + "\n")
    with pytest.raises(UserError, match="has 1 of its 2 intervals"):
        read_textgrid(path, "words")
    crossing = grid(path, **{"ann - words": [(0, 1, "hello")], "bob - words": [(0.5, 2, "you")]})
    with pytest.raises(UserError, match=r"you begins at 0\.500 s, before hello ends at 1\.000 s"):
        read_textgrid(crossing, "words")


# --- phones of another language -------------------------------------------------------------------------------------


def test_rules_come_first_then_the_nearest_articulation(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("# a small language\na EY\np\nb\nm\ns\nz\nu\ni\n")
    to = PhoneMap(tmp_path / "map")
    assert to("EY") == "a"  # by rule
    near = {"P": "p", "V": "z", "F": "s", "N": "m", "SH": "s", "ZH": "z", "UW": "u", "IH": "i", "AA": "a"}
    assert {phone: to(phone) for phone in near} == near
    assert to(SILENCE) == SILENCE and to("ʁ") in to.phones  # IPA needs no table
    with pytest.raises(UserError, match="QQ is not in the International Phonetic Alphabet; add a rule"):
        to("QQ")
    for label in ("spn", "sh"):  # each letter is a phone of IPA
        with pytest.raises(UserError, match=f"{label} is {len(label)} phones in IPA; if it is one, add a rule"):
            to(label)


@pytest.mark.parametrize(
    "text, message",
    [("", "expected the phones"), ("a\na\n", "expected the phones"), ("a X\nb X\n", "X becomes both a and b")],
)
def test_bad_maps(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map").write_text(text)
    with pytest.raises(UserError, match=message):
        PhoneMap(tmp_path / "map")


@pytest.mark.parametrize("language", sorted(path.stem for path in MAPS.glob("??.txt")))
def test_the_maps_of_the_project_take_every_english_phone(language: str) -> None:
    to = PhoneMap(MAPS / f"{language}.txt")
    english = [columns[0] for columns in read_columns(MAPS / "arpabet.txt", least=2)]
    assert len(english) == 39
    heard = {phone: to(phone) for phone in english}
    assert {phone: heard[phone] for phone in RULES[language]} == RULES[language]
    assert len(set(heard.values())) > 20  # not many fall together
    # What both languages have stays as it is.
    assert [to(phone) for phone in ("M", "K", "F", "L", "IY")] == [
        "m",
        "k",
        "f",
        "l",
        "iː" if language == "de" else "i",
    ]


# --- speech ---------------------------------------------------------------------------------------------------------


def test_alignment_of_real_speech() -> None:
    wav, rate = spoken("a brown dog runs")
    aligner = Aligner()
    words, phones = aligner.align(wav, rate, "A brown dog runs .")
    assert [i.symbol for i in words if i.symbol != SILENCE] == ["a", "brown", "dog", "runs"]
    assert [i.symbol for i in phones if i.symbol != SILENCE] == DOG
    for row in (words, phones):
        assert all(a.end == pytest.approx(b.begin, abs=0.011) for a, b in itertools.pairwise(row))
        assert abs(row[-1].end - len(wav) / rate) < 0.1
    for text, why in (
        ("a qwxyzzy runs", "not in the lexicon: qwxyzzy"),
        ("...", "no word"),
        ("dog " * 60, "was found"),
    ):
        with pytest.raises(Unalignable, match=why):
            aligner.align(wav, rate, text)
    with pytest.raises(Unalignable, match="nothing to hear"):
        aligner.align(wav[:50], rate, "dog")
    assert aligner.align(wav, rate, "a brown dog runs").words == words  # nothing stays from what failed


def test_phones_of_real_speech_without_its_text() -> None:
    import editdistance

    loop = PhoneRecogniser()
    heard = loop.recognise(*spoken("a brown dog runs"))
    assert editdistance.eval([i.symbol for i in heard if i.symbol != SILENCE], DOG) <= 5
    assert heard == loop.recognise(*spoken("a brown dog runs"))
    with pytest.raises(Unalignable, match="nothing to hear"):
        loop.recognise(np.zeros(24000, np.float32), 24000)


def test_a_lexicon_of_ones_own(tmp_path: Path) -> None:
    lexicon = tmp_path / "lexicon"
    lexicon.write_text("hund D AO G\nein AH\nbrauner B R AW N\nlaeuft R AH N Z\n")
    found = Aligner(str(lexicon)).align(*spoken("a brown dog runs"), "ein brauner hund laeuft")
    assert [i.symbol for i in found.phones if i.symbol != SILENCE] == DOG
    with pytest.raises(UserError, match="other: no such file"):
        Aligner(str(tmp_path / "other"))
    with pytest.raises(UserError, match=f"pocketsphinx cannot read {tmp_path} with {lexicon}: "):
        Aligner(str(lexicon), str(tmp_path))
    # As other lexicons are written: capitals, stress, comments, second pronunciations with a number or without.
    lexicon.write_text(
        ";;; CMUdict\nHund D OW1 G\nHund D AO1 G\nEIN AY1\nEIN(1) AH0\nbrauner B R AW1 N\nläuft R AH1 N Z\n"
    )
    found = Aligner(str(lexicon)).align(*spoken("a brown dog runs"), "Ein brauner Hund läuft.")
    assert [i.symbol for i in found.phones if i.symbol != SILENCE] == DOG
    assert [i.symbol for i in found.words if i.symbol != SILENCE] == ["ein", "brauner", "hund", "läuft"]
    for text, message in (
        ("hund D AO G\nein\n", r"lexicon:2: ein: expected 'word phone phone \.\.\.'"),
        ("", "holds no pronunciation"),
        (
            "hund d ɔ ɡ\nein AH\n",
            "1 of 2 entries have phones that the English model does not know, such as: hund d ɔ ɡ",
        ),
    ):
        lexicon.write_text(text)
        with pytest.raises(UserError, match=message):
            Aligner(str(lexicon))
    lexicon.write_bytes("läuft R AH N Z\n".encode("latin-1"))
    with pytest.raises(UserError, match="a lexicon is text in UTF-8"):
        Aligner(str(lexicon))


def test_each_kind_gives_its_symbols(tmp_path: Path) -> None:
    wav, rate = spoken("a brown dog runs")
    said = {
        kind: [i.symbol for i in Alignments(kind, AlignedConfig()).align("u", wav, rate, "a brown dog runs")]
        for kind in ("words", "phones-l1", "phones-l2")
    }
    assert "brown" in said["words"] and "AW" in said["phones-l1"] and "N" in said["phones-l2"]
    german = Alignments("phones-l2", AlignedConfig(phone_map="de"))
    assert not german.reads_text
    heard = [i.symbol for i in german.align("u", wav, rate)]
    assert len(heard) == len(said["phones-l2"]) and set(heard) <= {SILENCE, *german._map.phones}  # type: ignore[union-attr]
    grid(tmp_path / "u.TextGrid", words=[(0, 2, "dog")], phones=[(0, 2, "d")])
    assert Alignments("words", AlignedConfig(alignments=str(tmp_path))).align("u", wav, rate)[0].symbol == "dog"
    write_ctm(tmp_path / "ctm", {"u": [Interval("D", 0, 1)], "v": [Interval(SILENCE, 0, 1)]})
    from_ctm = Alignments("phones-l1", AlignedConfig(alignments=str(tmp_path / "ctm")))
    assert from_ctm.align("u", wav, rate) == [Interval("D", 0, 1)]
    for split in ("train", "test"):
        write_ctm(tmp_path / f"units/{split}/alignment.ctm", {f"{split}0": [Interval(split, 0, 1)]})
    from_units = Alignments("phones-l1", AlignedConfig(alignments=str(tmp_path / "units")))
    assert [from_units.align(f"{s}0", wav, rate)[0].symbol for s in ("train", "test")] == ["train", "test"]
    write_ctm(tmp_path / "data/train/phones.ctm", {"u": [Interval("D", 0, 1)]})
    write_ctm(tmp_path / "data/train/words.ctm", {"u": [Interval("dog", 0, 1)]})
    for kind, symbol in (("words", "dog"), ("phones-l1", "D")):
        assert (
            Alignments(kind, AlignedConfig(alignments=str(tmp_path / "data"))).align("u", wav, rate)[0].symbol == symbol
        )
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/u.TextGrid").write_text("what?")
    damaged = Alignments("words", AlignedConfig(alignments=str(tmp_path / "damaged")))
    with pytest.raises(Unalignable, match=r"u\.TextGrid: not a TextGrid"):  # which on_failure=skip leaves out
        damaged.align("u", wav, rate)
    save_manifest(tmp_path / "units", {"kind": "units", "method": "words"})
    with pytest.raises(UserError, match="units: its alignments are of words, not of phones-l2"):
        Alignments("phones-l2", AlignedConfig(alignments=str(tmp_path / "units")))
    for alignments, utterance, why in ((from_ctm, "w", "no line of it"), (from_ctm, "v", "nothing but silence")):
        with pytest.raises(Unalignable, match=why):
            alignments.align(utterance, wav, rate)


def test_inputs_are_named_without_being_opened(tmp_path: Path) -> None:
    options = AlignedConfig(model="no/model", phone_lm="no/lm", phone_map="de")
    assert inputs("phones-l2", options) == [MAPS / "de.txt", Path("no/model"), Path("no/lm")]
    ctm = tmp_path / "a.ctm"
    ctm.write_text("no CTM")
    assert inputs("words", AlignedConfig(alignments=str(ctm), lexicon="no")) == [ctm, Path("no")]
    with pytest.raises(UserError, match="options of phones-l2"):
        inputs("words", options)


def test_textgrids_lie_in_folders_of_speakers(tmp_path: Path) -> None:
    """As the Montreal Forced Aligner leaves them."""
    for speaker in ("ann", "bob"):
        (tmp_path / speaker).mkdir()
        grid(tmp_path / f"{speaker}/{speaker}-1.TextGrid", phones=[(0, 0.5, "D")])
    given, none = AlignedConfig(alignments=str(tmp_path)), np.zeros(0, np.float32)
    assert Alignments("phones-l1", given).align("bob-1", none, 0)[0].symbol == "D"
    with pytest.raises(Unalignable, match=f"there is no bob-2.TextGrid in {tmp_path}"):
        Alignments("phones-l1", given).align("bob-2", none, 0)
    grid(tmp_path / "ann/bob-1.TextGrid", phones=[(0, 0.5, "D")])
    with pytest.raises(UserError, match=r"bob/bob-1\.TextGrid: there is .*ann/bob-1\.TextGrid, too"):
        Alignments("phones-l1", given)


def test_options_that_belong_to_another_kind() -> None:
    with pytest.raises(UserError, match="no lexicon"):
        Alignments("phones-l2", AlignedConfig(lexicon="x"))
    with pytest.raises(UserError, match="options of phones-l2"):
        Alignments("words", AlignedConfig(phone_map="x"))
    with pytest.raises(UserError, match="no such folder of TextGrids"):
        Alignments("words", AlignedConfig(alignments="nowhere"))


# --- the stage ------------------------------------------------------------------------------------------------------


SAID = {
    "train": ["a brown dog runs", "a dog sleeps", "two dogs run"],
    "dev": ["a brown dog sleeps"],
    "test": ["a black dog runs"],
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe folder with speech, its text and its features."""
    cwd = tmp_path_factory.mktemp("recipe")
    for split, texts in SAID.items():
        data = cwd / "data" / split
        for i, text in enumerate(texts):
            wav, rate = spoken(text)
            write_wav(data / f"wav/{split}{i}.wav", resample(wav, rate, 22050), 22050)
        write_table(data / "wav.scp", {f"{split}{i}": f"data/{split}/wav/{split}{i}.wav" for i in range(len(texts))})
        write_table(data / "text", {f"{split}{i}": text for i, text in enumerate(texts)})
        run_step(cwd, "speech_feats.sh", "--nj", "1", f"data/{split}")
    return cwd


def run_step(cwd: Path, step: str, *arguments: str, expected: int = 0) -> str:
    done = subprocess.run([ROOT / "steps" / step, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["words", "phones-l1"])
def test_stage_writes_an_inventory_of_alignments(recipe: Path, kind: str) -> None:
    run_step(recipe, "units.sh", "--nj", "2", "--units", kind, "data", f"exp/{kind}")
    inventory = load(recipe / "exp" / kind)
    names = Symbols.load(recipe / "exp" / kind).names
    assert inventory.size == len(names) and inventory.manifest["method"] == kind
    for split, texts in SAID.items():
        units = read_int_table(recipe / "exp" / kind / split / "units")
        durations = read_int_table(recipe / "exp" / kind / split / "unit_durations")
        assert list(units) == list(durations) and len(units) == len(texts)
        for key, text in zip(units, texts, strict=True):
            assert sum(durations[key]) == frames_of(recipe, split, key)
            said = [names[u] for u in units[key] if names[u] != SILENCE]
            if kind == "words":
                assert said == [word if word != "black" else UNKNOWN for word in text.split()]
            else:
                assert len(said) > 2 * len(text.split()) and set(said) <= set(names)
    with pytest.raises(UserError, match="come from alignments"):
        inventory.encode({"u": np.zeros((10, 39), np.float32)})
    assert "up to date" in run_step(recipe, "units.sh", "--nj", "2", "--units", kind, "data", f"exp/{kind}")


def frames_of(recipe: Path, split: str, key: str) -> int:
    entry = read_table(recipe / "data" / split / "feats.scp")[key]
    ark, _, offset = entry.rpartition(":")
    return len(kaldiio.load_mat(f"{recipe / ark}:{offset}"))


def test_phones_of_another_language_come_without_text(recipe: Path, tmp_path: Path) -> None:
    shutil.copytree(recipe / "data", tmp_path / "data")
    for text in (tmp_path / "data").glob("*/text"):
        text.unlink()
    german = f"phone_map={MAPS / 'de.txt'}"
    arguments = ["--nj", "1", "--units", "phones-l2", "--unit-bpe", "60", "--overrides", german, "data", "exp/u"]
    run_step(tmp_path, "units.sh", *arguments)
    inventory = load(tmp_path / "exp/u")
    assert inventory.bpe is not None
    assert set(Symbols.load(tmp_path / "exp/u").names) <= {SILENCE, UNKNOWN, *PhoneMap(MAPS / "de.txt").phones}


def test_what_cannot_be_aligned_is_named_or_left_out(recipe: Path, tmp_path: Path) -> None:
    shutil.copytree(recipe / "data", tmp_path / "data")
    texts = {"train0": "a brawn qwxyzzy", "train1": "a dog sleeps", "train2": "two dogs run"}
    write_table(tmp_path / "data/train/text", texts)
    stage = ["--nj", "1", "--units", "phones-l1", "data", "exp/u"]
    message = run_step(tmp_path, "units.sh", *stage, expected=1)
    assert "data/train/text: 1 of 3 utterances have words that are not in the lexicon: qwxyzzy" in message
    assert "Traceback" not in message and not (tmp_path / "exp/u").exists()  # it is told before anything is aligned
    said = run_step(tmp_path, "units.sh", "--overrides", "on_failure=skip", *stage)
    assert "exp/u/train: 1 of 3 utterances cannot be aligned, see exp/u/train/failures" in said
    assert list(read_int_table(tmp_path / "exp/u/train/units")) == ["train1", "train2"]
    assert read_table(tmp_path / "exp/u/train/failures") == {"train0": "not in the lexicon: qwxyzzy"}
    # Alignments stay when only what is made of them changes.
    aligned = (tmp_path / "exp/u/train/alignment.ctm").stat().st_mtime_ns
    message = run_step(tmp_path, "units.sh", "--unit-bpe", "60", *stage, expected=1)
    assert "data/train/text: 1 of 3" in message
    run_step(tmp_path, "units.sh", "--overrides", "on_failure=skip", "--unit-bpe", "60", *stage)
    assert load(tmp_path / "exp/u").bpe is not None
    assert (tmp_path / "exp/u/train/alignment.ctm").stat().st_mtime_ns == aligned
    # More words than there is time for.
    write_table(tmp_path / "data/train/text", texts | {"train0": "a dog " * 60})
    message = run_step(tmp_path, "units.sh", *stage, expected=1)
    assert "train0: no alignment of" in message and "or leave such utterances out with on_failure=skip" in message
    assert "Traceback" not in message
    run_step(tmp_path, "units.sh", "--overrides", "on_failure=skip", *stage)
    assert read_table(tmp_path / "exp/u/train/failures")["train0"].startswith("no alignment of")
    (tmp_path / "data/dev/text").unlink()
    message = run_step(tmp_path, "units.sh", "--overrides", "on_failure=skip", *stage, expected=1)
    assert "data/dev/text: no such file; units phones-l1 are aligned with a text (kmeans, pseudo-phones" in message
    unknown = run_step(tmp_path, "units.sh", "--overrides", "lexikon=x", *stage, expected=1)
    assert "did you mean lexicon?" in unknown


def test_what_a_killed_job_has_aligned_is_not_aligned_again(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recipe)
    monkeypatch.setattr(align_units, "_CHUNK", 2)
    job = ["align_units", "--units", "phones-l1", "data/train", str(tmp_path / "said"), str(tmp_path / "failures")]
    monkeypatch.setattr(sys, "argv", job)
    align_units.main()
    parts = [tmp_path / "said.1", tmp_path / "said.2"]
    assert [list(read_ctm(part)) for part in parts] == [["train0", "train1"], ["train2"]]
    before = [part.stat().st_mtime_ns for part in parts]
    parts[1].unlink()
    align_units.main()
    after = [part.stat().st_mtime_ns for part in parts]
    assert before[0] == after[0] and before[1] < after[1]


def test_what_options_name_is_an_input(recipe: Path, tmp_path: Path) -> None:
    """Alignments or a lexicon that have changed are read anew."""
    shutil.copytree(recipe / "data", tmp_path / "data")
    for split in SAID:
        for key in read_table(tmp_path / f"data/{split}/text"):
            (tmp_path / "grids").mkdir(exist_ok=True)
            grid(tmp_path / f"grids/{key}.TextGrid", phones=[(0, 0.5, "D")])
    (tmp_path / "units.yaml").write_text("alignments: grids\n")
    (tmp_path / "quoted.yaml").write_text('alignments: "grids" # of an aligner')  # (without an end of line)
    given = ("--overrides", "alignments=grids"), ("--config", "units.yaml"), ("--config", "quoted.yaml")
    for number, how in enumerate(given):
        stage = ["--nj", "1", "--units", "phones-l1", *how, "data", f"exp/u{number}"]
        run_step(tmp_path, "units.sh", *stage)
        assert "up to date" in run_step(tmp_path, "units.sh", *stage)
        grid(tmp_path / "grids/train0.TextGrid", phones=[(0, 0.5, "DH" if number else "ZH")])
        assert "up to date" not in run_step(tmp_path, "units.sh", *stage)


def test_units_are_compared_in_a_table(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("words", "phones-l1"):
        run_step(recipe, "units.sh", "--nj", "2", "--units", kind, "data", f"exp/{kind}")
    printed = run_step(recipe, "../utils/compare_units.sh", "data/train", "exp/words", "exp/phones-l1")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    words, phones = (dict(zip(rows[0], row, strict=True)) for row in rows[2:])
    # These phones are the alignment that units are compared with.
    assert [phones[name] for name in ("kind", "purity", "NMI", "F")] == ["phones-l1", "100.0", "100.0", "100.0"]
    assert float(words["purity"]) < 100 and float(words["recall"]) < 100 and float(words["boundary precision"]) == 100
    assert float(words["a second"]) < float(phones["a second"])
    # What was measured on one split says nothing of another, nor of units that are made anew.
    monkeypatch.setattr(sys, "argv", ["compare_units", "--split", "test", str(recipe / "exp/words")])
    compare_units.main()
    other = dict(
        zip(rows[0], (cell.strip() for cell in capsys.readouterr().out.splitlines()[2][1:].split("|")), strict=False)
    )
    assert other["kind"] == "words" and other["purity"] == ""
    run_step(recipe, "units.sh", "--units", "words", "--overrides", "on_failure=skip", "data", "exp/words")
    assert not list((recipe / "exp/words").glob("*phones*"))
    missing = run_step(recipe, "../utils/compare_units.sh", "data/test", "exp/nowhere", expected=1)
    assert "Traceback" not in missing
