"""Throughput as a function of concurrency: the Universal Scalability Law, and simpler models that may say it as well.

    X(N) = gamma N / (1 + alpha (N - 1) + beta N (N - 1))

gamma is the throughput of one alone, alpha the share of work that queues for something shared (contention), beta what
it costs that all keep in step (coherency): Gunther, Guerrilla Capacity Planning (2007), chapter 4. It explains a curve
and warns; what a system holds within its objective is said by `capacity.py`, from measured levels alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.statistics.quantile import Floats
from harness.statistics.students_t import t_quantile

Model = Literal["usl", "amdahl", "linear", "pool"]
"""amdahl: without coherency; linear: nothing is shared; pool: linear up to a number of servers, then flat."""

BEYOND = 1.5
"""No curve is told beyond so many times the last measured concurrency: at 1.5 times published sets are 2 to 15 % off,
at 3 times up to 47 % (GATE.md, section 4)."""
TIE = 2.0
"""Models whose AICc differs by less cannot be told apart (Burnham & Anderson 2002, section 2.6)."""
_ROUNDS = 100
_ENOUGH = 1e-12


class Parameter(msgspec.Struct, frozen=True):
    """An estimate with its standard error and 95 % interval; at a bound of the model there are none."""

    value: float
    error: float | None = None
    lower: float | None = None
    upper: float | None = None


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """One model, fitted by least squares of the throughput itself (not of relative errors, which fit otherwise)."""

    model: Model
    gamma: Parameter
    alpha: Parameter = Parameter(0.0)
    beta: Parameter = Parameter(0.0)
    servers: int | None = None  # of `pool`
    aicc: float  # of the same data: the smaller the better; infinite with too few points
    loads_max: float  # the largest measured

    def throughput(self, load: float) -> float | None:
        """At that concurrency; None beyond what may be told."""
        if load > BEYOND * self.loads_max:
            return None
        if self.servers is not None:
            return self.gamma.value * min(load, self.servers)
        return float(_usl(np.array([load]), self.gamma.value, self.alpha.value, self.beta.value)[0])

    @property
    def peak(self) -> float | None:
        """Where throughput is largest: sqrt((1 - alpha) / beta). None: it has no peak, or one too far to be told."""
        if self.beta.value <= 0 or self.alpha.value >= 1:
            return None
        load = math.sqrt((1 - self.alpha.value) / self.beta.value)
        return load if load <= BEYOND * self.loads_max else None

    @property
    def ceiling(self) -> float | None:
        """Amdahl's limit, gamma / alpha: more is not to be had by any concurrency. None: there is no such limit."""
        if self.servers is not None:
            return self.gamma.value * self.servers
        return self.gamma.value / self.alpha.value if self.alpha.value > 0 else None


def fit_usl(loads: Sequence[float], throughputs: Sequence[float]) -> Fit:
    """The law, fitted. Raises ValueError below four points, or where a load or throughput is not above 0."""
    return _fit(*_points(loads, throughputs), "usl")


def fits(loads: Sequence[float], throughputs: Sequence[float]) -> tuple[Fit, ...]:
    """All models, the best first. The first of them is to be preferred only where `tied` does not name others.

    Raises ValueError as `fit_usl`.
    """
    n, x = _points(loads, throughputs)
    models: tuple[Model, ...] = ("usl", "amdahl", "linear")
    return tuple(sorted([*(_fit(n, x, model) for model in models), _fit_pool(n, x)], key=lambda fit: fit.aicc))


def tied(found: Sequence[Fit]) -> tuple[Model, ...]:
    """The models that the data do not tell apart from the best one, that one first."""
    return tuple(fit.model for fit in found if fit.aicc - found[0].aicc < TIE or fit is found[0])


def _points(loads: Sequence[float], throughputs: Sequence[float]) -> tuple[Floats, Floats]:
    n, x = np.asarray(loads, dtype=np.float64), np.asarray(throughputs, dtype=np.float64)
    if len(n) < 4 or len(n) != len(x):
        raise ValueError(f"{len(n)} loads and {len(x)} throughputs: a curve of three parameters needs four of each")
    if not (n > 0).all() or not (x > 0).all():
        raise ValueError("a load or throughput that is not above 0 is no measurement")
    return n, x


def _usl(n: Floats, gamma: float, alpha: float, beta: float) -> Floats:
    curve: Floats = gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1))
    return curve


def _fit(n: Floats, x: Floats, model: Model) -> Fit:
    """Least squares with alpha and beta at 0 at least: one that would be below is fixed there, and the rest fitted."""
    free = {"usl": (True, True), "amdahl": (True, False), "linear": (False, False)}[model]
    best: tuple[float, Floats, NDArray[np.bool_]] | None = None
    for chosen in product(*[(True, False) if each else (False,) for each in free]):
        is_free = np.array((True, *chosen))
        found = _least_squares(n, x, is_free)
        if found[0] <= 0 or (found < 0).any():
            continue
        misfit = float(np.sum((x - _usl(n, *found)) ** 2))
        if best is None or misfit < best[0]:
            best = misfit, found, is_free
    assert best is not None, "gamma alone can always be fitted"
    misfit, found, is_free = best
    gamma, alpha, beta = _parameters(n, found, is_free, misfit)
    parameters = 1 + sum(free)
    return Fit(
        model=model, gamma=gamma, alpha=alpha, beta=beta, aicc=_aicc(len(n), misfit, parameters), loads_max=float(n[-1])
    )


def _least_squares(n: Floats, x: Floats, is_free: NDArray[np.bool_]) -> Floats:
    """Levenberg and Marquardt's, from the linear fit of N / X = (1 + alpha (N - 1) + beta N (N - 1)) / gamma."""
    terms = np.stack([np.ones_like(n), n - 1, n * (n - 1)], axis=1)[:, is_free] * (x / n)[:, None]
    linear = np.linalg.lstsq(terms, np.ones_like(n), rcond=None)[0]
    found = np.zeros(3)
    found[is_free] = linear
    found = np.array([1 / found[0], found[1] / found[0], found[2] / found[0]])
    damping = 1e-3
    misfit = np.sum((x - _usl(n, *found)) ** 2)
    for _ in range(_ROUNDS):
        jacobian, residual = _jacobian(n, found)[:, is_free], x - _usl(n, *found)
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), jacobian.T @ residual)
        moved = found.copy()
        moved[is_free] += step
        after = np.sum((x - _usl(n, *moved)) ** 2)
        if after <= misfit:
            done = misfit - after <= _ENOUGH * misfit
            found, misfit, damping = moved, after, damping / 10
            if done:
                break
        else:
            damping *= 10
    return found


def _jacobian(n: Floats, at: Floats) -> Floats:
    """Of the law by gamma, alpha and beta, a row a load."""
    gamma, alpha, beta = at
    below = 1 + alpha * (n - 1) + beta * n * (n - 1)
    by: Floats = np.stack([n / below, -gamma * n * (n - 1) / below**2, -gamma * n**2 * (n - 1) / below**2], axis=1)
    return by


def _parameters(n: Floats, at: Floats, is_free: NDArray[np.bool_], misfit: float) -> tuple[Parameter, ...]:
    """With intervals by the residual variance and t with n - p degrees of freedom, where there are any left."""
    df = len(n) - int(is_free.sum())
    if df < 1:
        return tuple(Parameter(float(value)) for value in at)
    jacobian = _jacobian(n, at)[:, is_free]
    variance = np.linalg.inv(jacobian.T @ jacobian) * misfit / df
    errors = np.zeros(3)
    errors[is_free] = np.sqrt(np.diag(variance))
    t = t_quantile(0.975, df)
    return tuple(
        Parameter(float(value), float(error), float(value - t * error), float(value + t * error))
        if is_one_free
        else Parameter(float(value))
        for value, error, is_one_free in zip(at, errors, is_free, strict=True)
    )


def _fit_pool(n: Floats, x: Floats) -> Fit:
    """gamma min(N, c): each of c servers serves one at a time, and there is always another one waiting."""
    best = None
    for servers in range(1, math.ceil(n[-1]) + 1):
        served = np.minimum(n, servers)
        gamma = float(served @ x / (served @ served))
        misfit = float(np.sum((x - gamma * served) ** 2))
        if best is None or misfit < best[0]:
            best = misfit, gamma, servers
    assert best is not None
    misfit, gamma, servers = best
    return Fit(
        model="pool",
        gamma=Parameter(gamma),
        servers=servers,
        aicc=_aicc(len(n), misfit, 2),
        loads_max=float(n[-1]),
    )


def _aicc(n: int, misfit: float, parameters: int) -> float:
    """Akaike's criterion for least squares, corrected for few points; the variance counts as a parameter, too."""
    k = parameters + 1
    if n - k - 1 <= 0:
        return math.inf
    return n * math.log(max(misfit, 1e-300) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
