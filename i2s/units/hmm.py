"""A Bayesian phone-loop HMM: the model of Ondel, Burget and Cernocky 2016, "Variational Inference for Acoustic Unit
Discovery", with a symmetric Dirichlet over its units, fitted by variational Bayes on whole sets or on minibatches.

**Model.** Speech is a sequence of units; each of K units is an HMM that passes its S states from left to right, at
least one frame (D numbers) in each; each state emits from a mixture of M diagonal Gaussians. After the last state of
any unit any unit may begin: one shared point through which all paths go, so a step costs O(K S) and not O((K S)^2).
All parameters have conjugate priors:

    probability of the units                    pi          ~ Dirichlet(e0, ..., e0)
    of a state, to stay or to leave             a_ks        ~ Beta(t0, t0)
    of its mixture's components                 w_ks        ~ Dirichlet(c0, ..., c0)
    a component's mean, precision (each of D)   mu, lambda  ~ Normal(mu; m0, 1 / (k0 lambda)) Gamma(lambda; a0, b0)

**Counts.** Given a path z (units, states, components), the likelihood of speech x is of exponential form,
log p(x, z | theta) = <t(x, z), eta(theta)>: t are counts of events, eta their log probabilities. `Events` holds either
one, tensor by tensor: units begun, frames stayed, states left, components used, and for each component the sums of
(1, x, x^2), whose partners in eta are (log lambda - log 2 pi - lambda mu^2) / 2, lambda mu and -lambda / 2 (the first
added up over the D dimensions). The priors have the same form, so a posterior is a prior plus counts.

**Variational family.** q(z) q(theta): paths and parameters are independent, nothing else is assumed. It follows that
q(theta) is a product of the conjugate families above, given by `PhoneLoop.counts`, and q(z) is proportional to
exp <t(x, z), E_q eta>: an HMM whose log probabilities are replaced by expectations (`PhoneLoop.terms`), with psi the
digamma function:

    E log pi_k = psi(e_k) - psi(sum e), likewise for a and w;    E lambda = a / b;  E lambda mu = m a / b
    E log lambda = psi(a) - log b;                               E lambda mu^2 = m^2 a / b + 1 / k

**ELBO.** With q(z) at its optimum for q(theta),

    ELBO = sum over utterances of log Z  -  KL(q(theta) || p(theta)),    Z = sum over z of exp <t(x, z), E_q eta>

and KL is the sum of those of every Dirichlet, Beta and Normal-Gamma. `log_evidence` is the forward algorithm for log Z.

**Updates.** The expected counts E_q(z) t(x, z) are the gradient of log Z with respect to E_q eta. So the backward pass
of forward-backward is automatic differentiation (Eisner 2016, "Inside-Outside and Forward-Backward Algorithms Are Just
Backprop"), and q(theta)'s optimum for this q(z) is the prior plus that gradient:

    m = (k0 m0 + sum x) / k,  k = k0 + n;    a = a0 + n / 2;    b = b0 + (sum x^2 + k0 m0^2 - k m^2) / 2

All data at once: both steps maximise the ELBO, so it never falls. Minibatches (Hoffman, Blei, Wang and Paisley 2013,
"Stochastic Variational Inference"): a step of rate r along the natural gradient makes the counts (1 - r) times
themselves plus r times those of the minibatch, scaled up to the whole set.

**Weight of the frames.** Neighbouring frames overlap, and an HMM takes them for independent. `weight` w < 1 raises each
Gaussian to the power w: sums of (1, x, x^2) count w times. All of the above holds for this model as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.distributions import Dirichlet, Gamma, kl_divergence
from torch.nn.utils.rnn import PackedSequence, pack_sequence

NEVER = -1e30  # log probability of what cannot be: finite, so that its gradient is 0 and not NaN


class Events(NamedTuple):
    """One number for each kind of event: how often it happened, or the (expected) log probability of one."""

    enter: torch.Tensor  # (K,) a unit begins
    stay: torch.Tensor  # (S, K) a state lasts another frame
    leave: torch.Tensor  # (S, K) a state is left, for the next one or the unit's end
    mixture: torch.Tensor  # (M, S, K) a frame is a component's
    gauss: torch.Tensor  # (1 + 2 D, M, S, K) the sums of 1, x and x^2 over its frames


@dataclass(frozen=True)
class Prior:
    """What is believed of the parameters before any speech is heard."""

    mean: torch.Tensor  # (D,) m0; in float64, as all parameters are
    variance: torch.Tensor  # (D,) b0 / a0
    enter: float = 1.0  # e0; below 1, few units take most of the speech
    move: float = 1.0  # t0
    mixture: float = 1.0  # c0
    strength: float = 1.0  # k0 = a0: the prior is worth so many frames in a mean, and twice as many in a variance


class NormalGamma(NamedTuple):
    mean: torch.Tensor
    kappa: torch.Tensor
    precision: Gamma


class PhoneLoop:
    """q(theta), the belief about a phone loop after hearing speech that made `counts` (float64)."""

    def __init__(self, prior: Prior, counts: Events, weight: float = 1.0):
        self.prior, self.counts, self.weight = prior, counts, weight
        self.states, self.units = counts.stay.shape

    def _dirichlets(self, counts: Events) -> list[Dirichlet]:
        p = self.prior
        return [
            Dirichlet(p.enter + counts.enter),
            Dirichlet(p.move + torch.stack([counts.stay, counts.leave], -1)),
            Dirichlet(p.mixture + counts.mixture.movedim(0, -1)),
        ]

    def _normal_gamma(self, counts: Events) -> NormalGamma:
        """Its parameters have shape (D, M, S, K)."""
        p, dim = self.prior, len(self.prior.mean)
        n, first, second = counts.gauss.split([1, dim, dim])
        m0, v0 = p.mean[:, None, None, None], p.variance[:, None, None, None]
        kappa = p.strength + n
        mean = (p.strength * m0 + first) / kappa
        scatter = (second + p.strength * m0**2 - kappa * mean**2).clamp_min(0)  # negative only by rounding
        return NormalGamma(mean, kappa, Gamma((p.strength + n / 2).expand_as(mean), p.strength * v0 + scatter / 2))

    def terms(self, dtype: torch.dtype = torch.float32) -> Events:
        """The expected log probability of each event, those of frames times `weight`."""
        enter, move, mixture = (
            d.concentration.digamma() - d.concentration.sum(-1, keepdim=True).digamma()
            for d in self._dirichlets(self.counts)
        )
        mean, kappa, gamma = self._normal_gamma(self.counts)
        shape, rate = gamma.concentration, gamma.rate
        constant = shape.digamma() - rate.log() - math.log(2 * math.pi) - mean**2 * gamma.mean - 1 / kappa
        gauss = torch.cat([constant.sum(0, keepdim=True) / 2, mean * gamma.mean, -gamma.mean / 2])
        every = (enter, move[..., 0], move[..., 1], mixture.movedim(-1, 0), self.weight * gauss)
        return Events(*(x.to(dtype).contiguous() for x in every))

    def kl(self) -> float:
        """KL(q(theta) || p(theta)), of all parameters."""
        zero = Events(*map(torch.zeros_like, self.counts))
        pairs = zip(self._dirichlets(self.counts), self._dirichlets(zero), strict=True)
        total = sum(kl_divergence(q, p).sum() for q, p in pairs)
        q, p = self._normal_gamma(self.counts), self._normal_gamma(zero)
        ratio = p.kappa / q.kappa
        total += kl_divergence(q.precision, p.precision).sum()
        # E_q(lambda) KL(Normal(m, 1 / (k lambda)) || Normal(m0, 1 / (k0 lambda)))
        total += (ratio - 1 - ratio.log() + p.kappa * q.precision.mean * (q.mean - p.mean) ** 2).sum() / 2
        return float(total)

    def expect(self, utterances: Sequence[torch.Tensor]) -> tuple[float, Events]:
        """log Z, and the expected counts, of utterances (T, D) of at least S frames: in their dtype, all at once."""
        terms = Events(*(x.requires_grad_() for x in self.terms(utterances[0].dtype)))
        total = log_evidence(terms, pack(utterances))
        counts = Events(*(x.double() for x in torch.autograd.grad(total, terms, materialize_grads=True)))
        return float(total.detach()), counts._replace(gauss=self.weight * counts.gauss)

    def moved(self, counts: Events, rate: float = 1.0) -> PhoneLoop:
        """The belief after a step towards the prior plus `counts`; with `rate` 1, just that."""
        mixed = Events(*(torch.lerp(old, new, rate) for old, new in zip(self.counts, counts, strict=True)))
        return PhoneLoop(self.prior, mixed, self.weight)


def lift(frames: torch.Tensor) -> torch.Tensor:
    """(T, D) to (T, 1 + 2 D): 1, x and x^2."""
    return torch.cat([torch.ones_like(frames[:, :1]), frames, frames**2], 1)


def pack(utterances: Sequence[torch.Tensor]) -> PackedSequence:
    """Lifted frames in order of time, the longest utterance first: batches without padding."""
    return pack_sequence([lift(x) for x in utterances], enforce_sorted=False)


def emissions(terms: Events, frames: PackedSequence) -> torch.Tensor:
    """log sum over components, for each frame and state: (N, S, K)."""
    scores = frames.data @ terms.gauss.flatten(1) + terms.mixture.flatten()
    return scores.unflatten(1, terms.mixture.shape).logsumexp(1)


def log_evidence(terms: Events, frames: PackedSequence) -> torch.Tensor:
    """The sum of log Z over utterances of at least S frames: the forward algorithm, in O(T K S)."""
    first, *others = emissions(terms, frames).split(frames.batch_sizes.tolist())
    total = terms.enter.new_zeros((), dtype=torch.float64)
    paths = begin(terms, len(first)) + first
    for now in others:
        peak = paths.detach().amax((1, 2), keepdim=True)  # near 0, float32 is exact enough
        total = total + peak.sum()
        paths = paths - peak
        left = paths + terms.leave
        ends = left[:, -1].logsumexp(1)  # (B,): a unit ends here, and the next begins or speech is over
        alive = len(now)
        total = total + ends[alive:].sum()
        entered = ends[:alive, None, None] + terms.enter
        paths = torch.logaddexp(paths[:alive] + terms.stay, torch.cat([entered, left[:alive, :-1]], 1)) + now
    return total + (paths[:, -1] + terms.leave[-1]).logsumexp(1).sum()


def begin(terms: Events, count: int) -> torch.Tensor:
    """Paths (B, S, K) at the first frame, but for its emission: in the first state of any unit."""
    paths = terms.enter.new_full((count, *terms.stay.shape), NEVER)
    paths[:, 0] = terms.enter
    return paths


def best_paths(terms: Events, utterances: Sequence[torch.Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Viterbi: for each utterance (T, D), T >= S, the most probable units (N,) and their durations (N,) in frames.

    A unit may follow itself. Durations are at least S and add up to T.
    """
    frames = pack(utterances)
    first, *others = emissions(terms, frames).split(frames.batch_sizes.tolist())
    paths = begin(terms, len(first)) + first
    came: list[np.ndarray] = [np.empty(0)]  # (B, S, K) at each frame: this state was entered just then
    last: list[np.ndarray] = []  # (B,) the unit that the best path up to and with each frame ends with
    for now in others:
        left = paths + terms.leave
        ends, unit = left[:, -1].max(1)
        last.append(unit.numpy())
        alive = len(now)
        stay = paths[:alive] + terms.stay
        come = torch.cat([ends[:alive, None, None] + terms.enter, left[:alive, :-1]], 1)
        came.append((come > stay).numpy())
        paths = torch.maximum(stay, come) + now
    last.append((paths[:, -1] + terms.leave[-1]).argmax(1).numpy())
    assert frames.sorted_indices is not None
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0), np.empty(0))] * len(utterances)
    for row, index in enumerate(frames.sorted_indices.tolist()):
        end = t = len(utterances[index])
        units, durations = [], []
        while end:
            unit = last[end - 1][row]
            for state in range(len(terms.stay) - 1, -1, -1):
                t -= 1
                while t and not came[t][row, state, unit]:
                    t -= 1
            units.append(unit)
            durations.append(end - t)
            end = t
        found[index] = np.array(units[::-1], np.int64), np.array(durations[::-1], np.int64)
    return found
