"""How trials can be proposed: the methods' names, and whether one can work in a space on this machine."""

from __future__ import annotations

import importlib.util
from types import MappingProxyType

from openrlb.errors import UsageError
from openrlb_hpo.space import Space

METHODS = MappingProxyType(
    {
        "tpe": "Tree-structured Parzen estimator (Optuna, multivariate, constant liar: what still runs counts as bad)",
        "random": "Random search (Optuna)",
        "qmc": "Scrambled Sobol sequence (SciPy)",
        "cmaes": "CMA-ES with margin (cmaes); unordered choices are drawn at random",
        "gp": "Gaussian process with noise, log expected improvement (Optuna, torch)",
    }
)
"""Every method, and what it is in words."""

LARGEST_SOBOL = 21201  # dimensions that SciPy has direction numbers for


def check_method(method: str, space: Space) -> None:
    """Checks that a method can propose trials in a space, here.

    Raises:
        UsageError: The method is unknown, lacks a package, or has nothing to work on in this space.
    """
    if method not in METHODS:
        why = f"there are {', '.join(METHODS)}"
        if method in ("pbt", "pb2", "dehb", "asha", "hyperband"):
            why += "; methods that stop or change a run half-way need checkpoints, which runners do not write yet"
        raise UsageError(f"there is no method {method!r}", why, f"write --method {', '.join(list(METHODS)[:-1])} or gp")
    if not space.searched:
        why = "every hyperparameter has a single value"
        raise UsageError(f"the space {space.name} has nothing to search", why, "search another space, or set fewer with --set")
    if method == "gp" and importlib.util.find_spec("torch") is None:
        why = "Gaussian processes are fitted with torch, which is not installed here"
        raise UsageError("the method gp cannot run", why, "pip install 'openrlb[gp]'")
    if method == "cmaes" and sum(one.is_ordered for one in space.searched) < 2:
        why = "CMA-ES moves along ordered parameters and needs two of them"
        raise UsageError(f"the method cmaes cannot search the space {space.name}", why, "take --method tpe")
    if method == "qmc" and len(space.searched) > LARGEST_SOBOL:
        why = f"a Sobol sequence has at most {LARGEST_SOBOL} dimensions"
        raise UsageError(f"the method qmc cannot search the space {space.name}", why, "take --method random")
