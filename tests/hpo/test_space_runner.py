"""Packaged spaces against the sb3 runner itself: their ends resolve, and the library's defaults are where the space says."""

from __future__ import annotations

from openrlb_hpo.space import load_space
from openrlb_runners.environment import Environment
from openrlb_runners.request import TrainingRequest, pin
from openrlb_runners.resolve import resolve
from openrlb_runners.spec import find_runner

STEPS = 20_000
ENVS = {"ppo": "CartPole-v1", "a2c": "CartPole-v1", "dqn": "CartPole-v1", "sac": "Pendulum-v1", "td3": "Pendulum-v1"}


def test_the_ends_of_the_zoo_spaces_resolve_and_the_defaults_lie_in_them(sb3_environment: Environment) -> None:
    runner = pin(find_runner("sb3"), sb3_environment)
    defaults = resolve(runner, [TrainingRequest(algo, env, 1, STEPS) for algo, env in ENVS.items()])
    points = []
    for algo, default in zip(ENVS, defaults, strict=True):
        space = load_space("zoo", algo)
        place = space.params_of(default["hyperparameters"])
        assert place is not None
        ends = ({one.sampled_name: one.at(share) for one in space.searched} for share in (0.0, 1.0))
        points += [(space, point) for point in (place, *ends)]
    asked = [
        TrainingRequest(space.algo, ENVS[space.algo], 1, STEPS, space.hyperparameters(one, STEPS, {})) for space, one in points
    ]
    found = [config["hyperparameters"] for config in resolve(runner, asked)]
    for number, default in enumerate(defaults):
        same = found[3 * number]
        assert {key for key, value in default["hyperparameters"].items() if same[key] != value} <= {"buffer_size"}
    for (space, point), config in zip(points, found, strict=True):
        if space.algo in ("ppo", "a2c"):  # the others' buffers are cut to what the run can fill
            again = space.params_of(config)
            assert again is not None
            assert space.hyperparameters(again, STEPS, {}) == space.hyperparameters(point, STEPS, {})
