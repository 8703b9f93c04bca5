"""Finding sequences: beam search and sampling, all images and beams of a batch in one forward pass a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from i2s.errors import UserError


@dataclass(frozen=True)
class SearchConfig:
    """Options of the search. Lengths count what the model predicts: BPE pieces where there is a BPE, else units.

    A hypothesis of n pieces, the end symbol among them, has the score
    (log probability + length_bonus * n) / n ** length_penalty.
    """

    mode: Literal["beam", "sample"] = "beam"
    beam: int = 5  # hypotheses side by side; when sampling: samples an image
    length_penalty: float = 1.0  # 0: sum of log probabilities, favours short; 1: mean log probability
    length_bonus: float = 0.0
    min_length: int = 1
    max_length: int = 0  # 0: one and a half times the longest of the training sequences
    no_repeat: int = 0  # no run of so many pieces occurs twice in a hypothesis; 0: anything goes
    temperature: float = 1.0  # sampling: below 1 nearer to the most probable
    top_k: int = 0  # sampling: among the so many most probable; 0: among all
    seed: int = 0
    batch_size: int = 32  # images searched together

    def __post_init__(self) -> None:
        for name, low in (("beam", 1), ("min_length", 1), ("max_length", 0), ("no_repeat", 0), ("top_k", 0),
                          ("seed", 0), ("batch_size", 1)):  # fmt: skip
            if getattr(self, name) < low:
                raise UserError(f"search: {name}={getattr(self, name)}: must be at least {low}")
        if not self.temperature > 0:
            raise UserError(f"search: temperature={self.temperature}: must be above 0")
        if self.max_length and self.max_length < self.min_length:
            raise UserError(f"search: max_length={self.max_length} is below min_length={self.min_length}")


class Stepper(Protocol):
    """What search needs of a model; see i2s.i2u.base.ImageToUnitModel for the shapes."""

    edge: int

    def start(self, features: Tensor, mask: Tensor | None, beams: int) -> Any: ...
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]: ...
    def reorder(self, state: Any, index: Tensor) -> Any: ...


@dataclass(frozen=True)
class Found:
    """One hypothesis. `finished`: the end symbol was chosen freely, not forced by the greatest length."""

    pieces: list[int]
    score: float
    log_prob: float  # of pieces and end symbol, under the model as it is
    attention: np.ndarray  # float32 (len(pieces), L): where the model looked when it chose each piece
    finished: bool


class Scored(Protocol):
    """A hypothesis, of pieces or of units."""

    @property
    def score(self) -> float: ...


T = TypeVar("T", bound=Scored)


@torch.inference_mode()
def search(
    model: Stepper, features: Tensor, mask: Tensor | None, config: SearchConfig, seeds: Sequence[int] | None = None
) -> list[list[Found]]:
    """The hypotheses of each of B images: best first, `config.beam` of them, or as many as exist; samples in no order
    of score or length, so that each place holds a draw like any other (see `best`).

    features (B, L, D), mask (B, L) False at padding; `config.max_length` must not be 0. `seeds`, one an image, make
    samples independent of what else is in the batch (default: drawn from config.seed).
    An image is done when `beam` hypotheses have ended, so a beam that holds all sequences finds the very best one.
    """
    size, beams, edge = len(features), config.beam, model.edge
    if seeds is None:
        seeds = [config.seed + i for i in range(size)]
    state = model.start(features, mask, beams)
    alive = torch.arange(size, device=features.device)  # images not done yet: the rows of all that follows
    tokens = torch.full((size, beams), edge, device=features.device)
    scores = torch.zeros((size, beams), device=features.device)
    if config.mode == "beam":
        scores[:, 1:] = -math.inf  # all beams are the same at first
        choose: _Chooser = _Best()
    else:
        choose = _Sample(config, seeds)
    history = torch.empty((size, beams, 0), dtype=torch.long, device=features.device)
    trace = _Trace(size, beams)
    found: list[list[tuple[int, Found]]] = [[] for _ in range(size)]  # with the place where it ended

    for time in range(config.max_length + 1):
        logits, attention, state = model.step(tokens, state)
        free = logits.float().log_softmax(-1)
        allowed = _apply_rules(free, history, time, edge, config)
        step = choose(scores, free, allowed, alive, time, edge)
        for row, beam, log_prob in step.ended:
            item = int(alive[row])
            finished = time < config.max_length or bool(free[row, beam].argmax() == edge)
            pieces, looked = trace.back(item, beam, time)
            one = Found(pieces, _score(log_prob, time + 1, config), log_prob, looked, finished)
            found[item].append((beam, one))
        trace.add(alive, step.parents, step.tokens, attention)
        full = torch.tensor([len(found[i]) >= beams for i in alive.tolist()], device=features.device)
        keep = (step.scores.isfinite().any(-1) & ~full).nonzero()[:, 0]
        if time == config.max_length or not len(keep):
            break
        parents = step.parents[keep]
        state = model.reorder(state, keep[:, None] * beams + parents)
        tokens, scores, alive = step.tokens[keep], step.scores[keep], alive[keep]
        history = torch.cat([history[keep[:, None], parents], tokens[..., None]], -1)
    if config.mode == "sample":
        return [[one for _, one in sorted(hypotheses, key=lambda h: h[0])] for hypotheses in found]
    # Stable: of equal scores the one found first stays first.
    return [[one for _, one in sorted(hypotheses, key=lambda h: -h[1].score)[:beams]] for hypotheses in found]


def best(hypotheses: Sequence[T]) -> T:
    """The hypothesis of the greatest score, the first of equals: what to say where one is wanted, of samples too."""
    return max(hypotheses, key=lambda h: h.score)


def _score(log_prob: float, length: int, config: SearchConfig) -> float:
    return (log_prob + config.length_bonus * length) / length**config.length_penalty


def _apply_rules(log_probs: Tensor, history: Tensor, time: int, edge: int, config: SearchConfig) -> Tensor:
    """Log probabilities (B, K, V + 1) with -inf where the rules of length and repetition forbid a piece."""
    allowed = log_probs.clone()
    if time < config.min_length:
        allowed[..., edge] = -math.inf
    n = config.no_repeat
    if n and time >= n:
        runs = history.unfold(-1, n, 1)  # (B, K, time - n + 1, n)
        last = history[..., time - n + 1 :]  # the n - 1 pieces before the one to choose
        again = (runs[..., :-1] == last[..., None, :]).all(-1)
        banned = torch.where(again, runs[..., -1], edge)
        end = allowed[..., edge].clone()
        allowed.scatter_(-1, banned, -math.inf)
        allowed[..., edge] = end
    if time >= config.max_length:
        allowed[..., :edge] = -math.inf
    stuck = ~allowed.isfinite().any(-1)  # the rules leave nothing: the sequence may end
    allowed[..., edge] = torch.where(stuck, log_probs[..., edge], allowed[..., edge])
    return allowed


@dataclass(frozen=True)
class _Step:
    """What was chosen: the beams that go on, and (row, beam, log probability) of those that ended."""

    parents: Tensor  # (B, K)
    tokens: Tensor  # (B, K)
    scores: Tensor  # (B, K) log probability so far; -inf: no hypothesis in this place
    ended: list[tuple[int, int, float]]


class _Chooser(Protocol):
    def __call__(self, scores: Tensor, free: Tensor, allowed: Tensor, alive: Tensor, time: int, edge: int) -> _Step: ...


class _Best:
    """Beam search: the K best continuations that do not end go on; ends among the K best of all are kept."""

    def __call__(self, scores: Tensor, free: Tensor, allowed: Tensor, alive: Tensor, time: int, edge: int) -> _Step:
        _, beams, symbols = allowed.shape
        total = (scores[..., None] + allowed).flatten(1)
        top, flat = total.topk(2 * beams)
        parents, tokens = flat // symbols, flat % symbols
        ends = tokens == edge
        rank = torch.arange(2 * beams, device=top.device)
        ended = (ends & top.isfinite() & (rank < beams)).nonzero().tolist()
        # A beam can end in one way only, so at most K of the 2 K best end and at least K go on.
        going = (ends * 2 * beams + rank).argsort(-1)[:, :beams]
        return _Step(
            parents.gather(1, going), tokens.gather(1, going), top.gather(1, going),
            [(row, int(parents[row, j]), float(top[row, j])) for row, j in ended],
        )  # fmt: skip


class _Sample:
    """Sampling: every beam draws its own next piece; an ended beam's place stays empty."""

    def __init__(self, config: SearchConfig, seeds: Sequence[int]):
        self.config = config
        shape = (config.max_length + 1, config.beam)
        self.draws = np.stack([np.random.default_rng(seed).random(shape) for seed in seeds])  # (B, time, K)

    def __call__(self, scores: Tensor, free: Tensor, allowed: Tensor, alive: Tensor, time: int, edge: int) -> _Step:
        logits = allowed / self.config.temperature
        if 0 < self.config.top_k < logits.shape[-1]:
            least = logits.topk(self.config.top_k).values[..., -1:]
            logits = logits.masked_fill(logits < least, -math.inf)
        mass = logits.double().softmax(-1).cumsum(-1)
        draws = torch.from_numpy(self.draws[alive.cpu().numpy(), time]).to(mass)[..., None]
        # The first symbol whose cumulative probability exceeds the draw; one without probability never does.
        tokens = torch.searchsorted(mass, draws * mass[..., -1:], right=True).clamp(max=edge)[..., 0]
        total = scores + free.gather(-1, tokens[..., None])[..., 0]
        ended = ((tokens == edge) & scores.isfinite()).nonzero().tolist()
        parents = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        return _Step(
            parents, tokens, total.masked_fill(tokens == edge, -math.inf),
            [(row, beam, float(total[row, beam])) for row, beam in ended],
        )  # fmt: skip


class _Trace:
    """What was chosen at each step and from which beam, kept once and read backwards when a hypothesis ends."""

    def __init__(self, size: int, beams: int):
        self.size, self.beams = size, beams
        self.steps: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, alive: Tensor, parents: Tensor, tokens: Tensor, attention: Tensor) -> None:
        rows = np.full(self.size, -1)
        rows[alive.cpu().numpy()] = np.arange(len(alive))
        self.steps.append((rows, parents.cpu().numpy(), tokens.cpu().numpy(), attention.float().cpu().numpy()))

    def back(self, item: int, beam: int, time: int) -> tuple[list[int], np.ndarray]:
        """The pieces of the hypothesis in place `beam` before step `time`, and their attention (pieces, L)."""
        pieces: list[int] = []
        looked: list[np.ndarray] = []
        for rows, parents, tokens, attention in reversed(self.steps[:time]):
            row = rows[item]
            pieces.append(int(tokens[row, beam]))
            beam = int(parents[row, beam])
            looked.append(attention[row, beam])
        return pieces[::-1], np.array(looked[::-1], np.float32)
