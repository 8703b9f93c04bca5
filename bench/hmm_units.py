"""Pseudo-phones: one epoch of training, as multiples of real time, beside two peers in the same run.

1. The plain way to run this HMM, and that of hmmlearn's "log" implementation: forward-backward with a matrix of all
   transitions between states, (K S)^2 a frame, an utterance at a time. The emissions are the same; its log Z and its
   expected counts of units must be, too. It is given a few utterances only.
2. k-means with faiss, the other way to learn units, on the same frames (all of its iterations).

The features are random: what they hold makes no difference to the time. Run it from the repository's root:

    python bench/hmm_units.py [--seconds N] [--threads T]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TypeVar

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--seconds", type=int, default=1800, help="of speech in the epoch (default %(default)s)")
parser.add_argument("--dense", type=int, default=2, metavar="N", help="utterances for peer 1 (default %(default)s)")
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
args = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(args.threads)  # before the libraries start

import numpy as np  # noqa: E402
import torch  # noqa: E402

from i2s.units.hmm import Events, PhoneLoop, emissions, log_evidence, pack  # noqa: E402
from i2s.units.kmeans import KMeansConfig, cluster  # noqa: E402
from i2s.units.pseudo_phones import PseudoPhonesConfig, first_loop, fit  # noqa: E402

T = TypeVar("T")
SHIFT = 256 / 22050  # seconds a frame


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """The result of `work`, its wall time and its processor time (which other programs do not disturb), in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def ours(loop: PhoneLoop, utterances: list[torch.Tensor]) -> tuple[float, torch.Tensor]:
    """log Z of all, and how often each unit is begun."""
    terms = Events(*(x.requires_grad_() for x in loop.terms()))
    log_z = log_evidence(terms, pack(utterances))
    return float(log_z.detach()), torch.autograd.grad(log_z, terms)[0]


def dense(loop: PhoneLoop, utterances: list[torch.Tensor]) -> tuple[float, torch.Tensor]:
    """The same, with a matrix of all transitions; forward and backward written out."""
    terms = loop.terms()
    states, units = terms.stay.shape
    size = states * units
    matrix = torch.full((states, units, states, units), -torch.inf)
    each = torch.arange(units)
    for s in range(states):
        matrix[s, each, s, each] = terms.stay[s]
        if s + 1 < states:
            matrix[s, each, s + 1, each] = terms.leave[s]
    again = terms.leave[-1][:, None] + terms.enter  # from any unit's end to any unit's begin
    matrix[-1, :, 0] = again if states > 1 else torch.logaddexp(matrix[-1, :, 0], again)
    between, leave = matrix.reshape(size, size), terms.leave[-1]
    total, begun = 0.0, torch.zeros(units)
    for x in utterances:
        emit = emissions(terms, pack([x])).flatten(1)
        forward, backward = torch.full_like(emit, -torch.inf), torch.full_like(emit, -torch.inf)
        forward[0, :units] = terms.enter + emit[0, :units]
        for t in range(1, len(emit)):
            forward[t] = (forward[t - 1][:, None] + between).logsumexp(0) + emit[t]
        backward[-1, -units:] = leave
        for t in range(len(emit) - 2, -1, -1):
            backward[t] = (between + emit[t + 1] + backward[t + 1]).logsumexp(1)
        log_z = (forward[-1, -units:] + leave).logsumexp(0)
        begun += (forward[0, :units] + backward[0, :units] - log_z).exp()
        ends = (forward[:-1, -units:] + leave).logsumexp(1, keepdim=True)
        begun += (ends + terms.enter + (emit + backward)[1:, :units] - log_z).exp().sum(0)
        total += float(log_z)
    return total, begun


config = PseudoPhonesConfig(epochs=1)
rng = np.random.default_rng(0)
frames: list[np.ndarray] = []
while SHIFT * sum(map(len, frames)) < args.seconds:
    frames.append(rng.normal(size=(int(rng.integers(150, 400)), config.lda_dim)).astype(np.float32))
labels = [np.repeat(rng.integers(0, config.num_units, len(x) // 6 + 1), 6)[: len(x)] for x in frames]
seconds = SHIFT * sum(map(len, frames))
loop = first_loop(frames, labels, config)
print(
    f"{seconds:.0f} s of speech, {config.lda_dim} dimensions, {config.num_units} units of {config.states} states of "
    f"{config.components} Gaussians, {args.threads} threads"
)
few = [torch.from_numpy(x) for x in frames[: args.dense]]
ours(loop, few)  # so that first calls are not timed

_, wall, cpu = timed(lambda: fit(loop, frames, config))
print(f"one epoch, all of it   {wall:8.2f} s wall {cpu:8.2f} s processor   {seconds / wall:6.0f} times real time "
      f"({seconds / cpu:.0f} a core)")  # fmt: skip
everything = np.concatenate(frames)
defaults = KMeansConfig()
_, kmeans_wall, kmeans_cpu = timed(lambda: cluster(everything, config.num_units, defaults.iterations, 0))
print(f"k-means (faiss)        {kmeans_wall:8.2f} s wall {kmeans_cpu:8.2f} s processor   "
      f"{seconds / kmeans_wall:6.0f} times real time")  # fmt: skip

batch = [torch.from_numpy(x) for x in frames[:32]]
(_, _), wall, cpu = timed(lambda: ours(loop, batch))
(theirs_z, theirs_begun), dense_wall, dense_cpu = timed(lambda: dense(loop, few))
ours_z, ours_begun = ours(loop, few)
assert abs(ours_z - theirs_z) < 1e-4 * abs(theirs_z), (ours_z, theirs_z)
torch.testing.assert_close(ours_begun, theirs_begun, rtol=0.01, atol=0.01)
scale = sum(map(len, batch)) / sum(map(len, few))
for name, w, c, n in (
    ("through one point", wall, cpu, len(batch)),
    ("all transitions", dense_wall, dense_cpu, len(few)),
):
    print(f"{name:<22} {w:8.2f} s wall {c:8.2f} s processor   {n} utterances, forward-backward")
print(f"ratio: {dense_wall * scale / wall:.1f} times faster a frame (processor time: {dense_cpu * scale / cpu:.1f}), "
      f"same log Z")  # fmt: skip
