"""TensorBoard event files: genuine ones, and ones written here byte by byte from the format's description.

``genuine_events/`` holds small files as torch 2.13's ``SummaryWriter``, tensorboardX 2.6.5 and tensorboard 2.21's own
``Writer`` wrote them (16 points of 0.1 x step / 1000 with a NaN at 3000, and one of everything else); only their names were
changed, which held the machine's.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import load, metrics

from openrlb.sources.tensorboard_events import Damage, checksum, events, sound
from openrlb.sources.tensorboard_log import read_events

GENUINE = Path(__file__).parent / "genuine_events"
FOLDER = "Hopper-v4__ppo__1__1700000000"


# A writer of the format, from its description: nothing of openrlb's own reader is in it.


def crc32c(data: bytes) -> int:
    """Bit by bit, with the reflected polynomial 0x82F63B78 (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def part(number: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def event(step: int, *values: bytes, wall: float = 0.0) -> bytes:
    summary = b"".join(part(1, value) for value in values)
    return b"\x09" + struct.pack("<d", 1_700_000_000 + wall) + b"\x10" + varint(step) + part(5, summary)


def scalar(tag: str, value: float) -> bytes:
    return part(1, tag) + b"\x15" + struct.pack("<f", value)


def tensor(tag: str, dtype: int, content: bytes, shape: Iterable[int] = ()) -> bytes:
    dims = b"".join(part(2, b"\x08" + varint(size)) for size in shape)
    return part(1, tag) + part(8, b"\x08" + varint(dtype) + part(2, dims) + content)


def text(tag: str, words: str) -> bytes:
    return tensor(tag, 7, part(8, words), [1]) + part(9, part(1, part(1, "text")))


def version(wall: float = 0.0) -> bytes:
    return b"\x09" + struct.pack("<d", 1_700_000_000 + wall) + part(3, "brain.Event:2")


def event_file(folder: Path, *payloads: bytes, number: int = 0, wall: float = 0.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.170000000{number}.machine.1.{number}"
    path.write_bytes(b"".join(map(framed, [version(wall), *payloads])))
    return path


def curve(tag: str = "eval/return", points: int = 5, first: int = 0, wall: float = 0.0) -> list[bytes]:
    return [event(step * 100, scalar(tag, step), wall=wall + step) for step in range(first, first + points)]


FRAMES = [framed(payload) for payload in [version(), *curve(points=60)]]

# Genuine files.


@pytest.mark.parametrize(
    ("writer", "tag"),
    [("torch", "charts/episodic_return"), ("tensorboardx", "charts/episodic_return"), ("tensorboard", "eval/return")],
)
def test_files_of_genuine_writers(writer: str, tag: str) -> None:
    (batch,), skipped, _ = load(GENUINE / writer, *(["algo='sac',env='Hopper-v4'"] if writer == "tensorboard" else []))
    assert skipped == []
    found = metrics(batch)
    steps = np.arange(0, 8000, 500)
    expected = np.where(steps == 3000, np.nan, steps / 1000 * 0.1).astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(found[tag].steps, steps)
    np.testing.assert_array_equal(found[tag].values, expected)
    assert found[tag].metric.canonical == "episodic_return"
    times = found[tag].times_ms
    assert times is not None and 0 <= times[0] < 5000 and (np.diff(times) >= 0).all()
    assert batch.run.created and batch.run.created.startswith("2026-11-21T06:04")
    if writer == "tensorboard":
        return
    np.testing.assert_array_equal(found["losses/value_loss"].values, expected[::2] * 2)
    run = batch.run
    assert (run.algo, run.env, run.seed, run.impl) == ("ppo_continuous_action", "Hopper-v4", 7, "cleanrl")
    assert run.step_unit == "agent_step" and "picture, weights" in " ".join(run.notes)
    assert {"learning_rate": 3e-4, "cuda": True, "target_kl": None}.items() <= run.config.items()
    assert "ann" not in str(run.config)


def test_what_torch_puts_into_sub_folders_belongs_to_the_run() -> None:
    (batch,), _, guesses = load(GENUINE / "torch")
    found = metrics(batch)
    assert {"lr": 0.1, "layers": 2, "opt": "adam"}.items() <= batch.run.config.items()
    expected = [("new_style", 0.5, 9), ("double", 0.1, 9), ("both_a", 1, 7), ("both_b", 2, 7), ("hparam/score", 1.5, 0)]
    for name, value, step in expected:
        assert (found[name].values.tolist(), found[name].steps.tolist()) == ([value], [step])
    assert guesses == ["algo=config.exp_name,env=config.env_id,seed=config.seed"]


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_genuine_file_cut_anywhere_gives_a_prefix(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = next((GENUINE / "torch").glob("events*"))
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    place = tmp_path_factory.mktemp("cut") / path.name
    place.write_bytes(whole[:cut])
    found, full = read_events(place), read_events(path)
    for tag, columns in found.tags.items():
        for column, complete in zip(columns, full.tags[tag], strict=True):
            np.testing.assert_array_equal(np.array(column), np.array(complete)[: len(column)])
    assert (found.count == full.count) or cut < len(whole)
    runs, skipped, _ = load(place.parent, "algo='a',env='e'")
    assert bool(runs) == bool(found.tags) and (runs or skipped)


@settings(max_examples=80, deadline=None)
@given(at=st.integers(0, 10**6), flip=st.integers(1, 255), length=st.sampled_from([1, 1, 8, 300]))
def test_damage_in_the_middle_keeps_every_other_event(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int, length: int
) -> None:
    frames, whole = FRAMES, b"".join(FRAMES)
    at %= len(whole)
    damaged = whole[:at] + bytes(byte ^ flip for byte in whole[at : at + length]) + whole[at + length :]
    place = tmp_path_factory.mktemp("flip") / "events.out.tfevents.17.machine"
    place.write_bytes(damaged)
    ends = np.cumsum([len(frame) for frame in frames])
    hit = {number for number, end in enumerate(ends) if end > at and end - len(frames[number]) < at + length}
    found = read_events(place)
    kept = list(found.tags["eval/return"][1])
    assert kept == [float(number - 1) for number in range(1, len(frames)) if number not in hit]
    assert found.damage


def test_several_losses_of_framing_over_a_long_file() -> None:
    frames = [framed(payload) for payload in [version(), *curve(points=3000)]]
    for number in (500, 2000):
        frames[number] = b"\xff" * 1000
    damage = Damage()
    found = [item.step // 100 for item in events(io.BytesIO(b"".join(frames)), damage) if item.summary.value]
    assert found == [step for step in range(3000) if step + 1 not in (500, 2000)]
    assert (damage.gaps, damage.lost, damage.cut) == (2, 0, False)


def test_a_wrong_checksum_leaves_out_its_event_alone() -> None:
    frames = [framed(payload) for payload in [version(), *curve()]]
    frames[2] = frames[2][:-1] + bytes([frames[2][-1] ^ 1])
    damage = Damage()
    assert [item.step for item in events(io.BytesIO(b"".join(frames)), damage)] == [0, 0, 200, 300, 400]
    assert (damage.gaps, damage.lost) == (0, 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 70))
def test_checksums_alone_and_together(payloads: list[bytes], times: int) -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    stored = [int.from_bytes(masked(payload), "little") for payload in payloads]
    assert [checksum(payload) for payload in payloads] == stored
    assert sound(payloads * times, stored * times).all()
    assert not sound(payloads * times, [number ^ 1 for number in stored] * times).any()


@pytest.mark.parametrize("length", [4095, 4096, 4097, 20_000])
def test_the_checksum_of_a_long_record(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    assert checksum(data) == int.from_bytes(masked(data), "little")


# What is in the events.


def test_every_form_of_a_scalar(tmp_path: Path) -> None:
    values = [
        scalar("simple", 1.5), scalar("nan", float("nan")), scalar("zero", 0.0),
        tensor("float_val", 1, part(5, struct.pack("<f", 2.5))), tensor("float_content", 1, part(4, struct.pack("<f", 3.5))),
        tensor("double_val", 2, part(6, struct.pack("<d", 0.1)), [1]), tensor("int_val", 3, part(7, varint(-4))),
        tensor("int64_content", 9, part(4, struct.pack("<q", 2**40))), tensor("empty", 1, b""),
        tensor("vector", 1, part(4, struct.pack("<ff", 1, 2)), [2]), text("note", "hello"), tensor("bad", 1, part(4, b"abc")),
    ]  # fmt: skip
    event_file(tmp_path / FOLDER, event(7, *values))
    (batch,), skipped, _ = load(tmp_path)
    found = {name: metric.values.tolist()[0] for name, metric in metrics(batch).items()}
    assert np.isnan(found.pop("nan"))
    assert found == {"simple": 1.5, "zero": 0.0, "float_val": 2.5, "float_content": 3.5, "double_val": 0.1, "int_val": -4.0,
                     "int64_content": float(2**40), "empty": 0.0}  # fmt: skip
    assert skipped == [] and "bad, note, vector" in " ".join(batch.run.notes)


def test_a_negative_step_is_kept_and_one_beyond_all_others_left_out(tmp_path: Path) -> None:
    steps = (-1, 2**62 - 1, 2**62, 2**63 - 1, -(2**63))
    event_file(tmp_path / FOLDER, *(event(step, scalar("eval/return", 1)) for step in steps))
    (batch,), _, _ = load(tmp_path)
    assert metrics(batch)["eval/return"].steps.tolist() == [-1, 2**62 - 1]
    assert "eval/return: 3 of 5 values stand at steps of 2^62 and more and are left out" in batch.run.notes


def test_files_of_a_restarted_run_are_joined_in_time_order(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    event_file(folder, *curve(points=3, first=2, wall=1000), number=1, wall=1001)  # the later one, whatever its name says
    event_file(folder, *curve(points=4), number=2)
    (batch,), skipped, _ = load(tmp_path)
    found = metrics(batch)["eval/return"]
    assert skipped == [] and found.values.tolist() == [0, 1, 2, 3, 2, 3, 4]
    assert found.steps.tolist() == [0, 100, 200, 300, 200, 300, 400]
    assert found.times_ms is not None and found.times_ms.tolist() == [0, 1000, 2000, 3000, 4000, 5000, 6000]
    said = " ".join(batch.run.notes)
    assert "2 event files" in said and "steps go back" in said and "eval/return" in said


def test_files_without_scalars_and_broken_files_are_named(tmp_path: Path) -> None:
    event_file(tmp_path / "nothing")
    event_file(tmp_path / "texts", event(0, text("note", "hello")))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "events.out.tfevents.1.machine").write_bytes(b"")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "events.out.tfevents.1.machine").write_bytes(b"\0" * 50)
    runs, skipped, _ = load(tmp_path)
    reasons = {item.location.split("/")[0]: (item.damaged, item.reason) for item in skipped}
    assert runs == [] and set(reasons) == {"nothing", "texts", "empty", "broken"}
    assert reasons["nothing"] == (False, "its TensorBoard event files hold no scalars")
    assert reasons["texts"] == (False, "its TensorBoard event files hold no scalars, only note")
    assert reasons["empty"][0] and reasons["broken"][0] and "TensorBoard" in reasons["broken"][1]


def test_a_file_that_is_being_written_keeps_what_is_there(tmp_path: Path) -> None:
    path = event_file(tmp_path / FOLDER, *curve())
    path.write_bytes(path.read_bytes()[:-3])
    (batch,), (skipped,), _ = load(tmp_path)
    assert metrics(batch)["eval/return"].values.tolist() == [0, 1, 2, 3]
    assert skipped.damaged and "cut inside its last record; 4 values are kept" in skipped.reason


def test_an_event_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    event_file(folder, *curve()).rename(folder / "log")
    (batch,), skipped, _ = load(tmp_path)
    assert skipped == [] and batch.run.env == "Hopper-v4"
    (folder / "events.out.tfevents.17.csv").write_text("algo,env,eval_return\nppo,Hopper-v4,3\n")
    assert len(load(tmp_path)[0]) == 2  # a table that was exported from one


# Whose run it is.


@pytest.mark.parametrize(
    ("folder", "told", "guess"),
    [
        (FOLDER, ("ppo", "Hopper-v4", 1), "path:{env}__{algo}__{seed}__{_}"),
        ("Hopper-v4__ppo__1", ("ppo", "Hopper-v4", 1), "path:{env}__{algo}__{seed}"),
        ("Hopper-v4__ppo_lstm__12__2026-01-01_10-00", ("ppo_lstm", "Hopper-v4", 12), "path:{env}__{algo}__{seed}__{_}"),
        ("Hopper-v4/PPO_3", ("PPO", "Hopper-v4", None), "path:{env}/{algo}_{_}"),
    ],
)
def test_names_of_folders(tmp_path: Path, folder: str, told: tuple[str, str, int | None], guess: str) -> None:
    event_file(tmp_path / folder, *curve("rollout/ep_rew_mean"))
    (batch,), skipped, guesses = load(tmp_path)
    run = batch.run
    assert (run.algo, run.env, run.seed) == told and guesses == [guess] and skipped == []
    assert (run.impl, run.step_unit) == ("sb3", "agent_step")
    (again,), _, guesses = load(tmp_path, guess)
    assert again.run == run and guesses == []


def test_names_that_tell_nothing_ask_for_a_map_that_works(tmp_path: Path) -> None:
    event_file(tmp_path / "tb" / "PPO_1", *curve("rollout/ep_rew_mean"))
    runs, (skipped,), _ = load(tmp_path)
    assert runs == [] and not skipped.damaged and "--map \"algo='NAME',env='NAME'," in skipped.reason
    (batch,), _, _ = load(tmp_path, "path:{algo}_{_},env='Ant-v4'")
    assert (batch.run.algo, batch.run.env, batch.run.seed) == ("PPO", "Ant-v4", None)


def test_a_typed_map_ranks_before_settings_and_settings_before_names(tmp_path: Path) -> None:
    told = ("exp_name|sac", "env_id|dm_control/walker-v0", "seed|5", "lr|0.1", "layers|[64, 64]", "note|a|b")
    table = "\n".join(f"|{line}|" for line in ("param|value", "-|-", *told))
    event_file(tmp_path / FOLDER, event(0, text("hyperparameters/text_summary", table)), *curve())
    (batch,), _, _ = load(tmp_path)
    assert (batch.run.algo, batch.run.env, batch.run.seed) == ("sac", "dm_control/walker-v0", 5)
    assert batch.run.config == {"lr": 0.1, "layers": [64, 64], "note": "a|b"}
    (batch,), _, _ = load(tmp_path, "path:{env}__{algo}__{seed}__{_}")
    assert (batch.run.algo, batch.run.env, batch.run.seed) == ("ppo", "Hopper-v4", 1)
    assert "env_id" not in batch.run.config and "seed" not in batch.run.config
    (batch,), _, _ = load(tmp_path, "algo='mine',config.rate=config.lr,tag='try',value=eval/return,kind=eval")
    assert (batch.run.algo, batch.run.tags, batch.run.config["rate"]) == ("mine", ("try",), 0.1)


def test_what_a_step_counts(tmp_path: Path) -> None:
    for folder, tag in (("PongNoFrameskip-v4__dqn__1__17", "charts/episodic_return"), (FOLDER, "score"), ("plain", "score")):
        event_file(tmp_path / folder, *curve(tag))
    runs, _, _ = load(tmp_path)
    found = {batch.run.env: (batch.run.step_unit, batch.run.frames_per_step, " ".join(batch.run.notes)) for batch in runs}
    assert found["PongNoFrameskip-v4"] == ("agent_step", 4, "")
    assert found["Hopper-v4"][:2] == ("agent_step", None) and "as CleanRL names it" in found["Hopper-v4"][2]
    (plain,), _, _ = load(tmp_path / "plain", "algo='a',env='e'")
    assert plain.run.step_unit == "unknown" and "--step-unit" in " ".join(plain.run.notes)
    (plain,), _, _ = load(tmp_path / FOLDER, step_unit="frame", frames_per_step=2)
    assert (plain.run.step_unit, plain.run.frames_per_step) == ("frame", 2) and "CleanRL" not in " ".join(plain.run.notes)


def test_values_and_steps_of_a_map(tmp_path: Path) -> None:
    payloads = [event(n, scalar("score", n), scalar("frames", n * 4000)) for n in range(3)] + [event(9, scalar("score", 9))]
    event_file(tmp_path / FOLDER, *payloads)
    (batch,), _, _ = load(tmp_path, "value=score,kind=eval,step=frames", step_unit="frame")
    found = metrics(batch)
    assert set(found) == {"score"} and found["score"].steps.tolist() == [0, 4000, 8000]
    assert (found["score"].metric.kind, found["score"].metric.canonical) == ("eval", "episodic_return")
    assert "score: 1 of 4 values stand at no whole frames" in " ".join(batch.run.notes) and batch.run.step_unit == "frame"
    (batch,), _, guesses = load(tmp_path)
    assert metrics(batch)["score"].metric.canonical == "episodic_return"
    assert guesses == ["path:{env}__{algo}__{seed}__{_}"]


def test_event_files_beside_a_runs_other_logs_are_one_run(tmp_path: Path) -> None:
    """Stable-Baselines3's ``configure(folder, ["csv", "tensorboard"])``."""
    (tmp_path / "progress.csv").write_text("time/total_timesteps,rollout/ep_rew_mean\n100,1.0\n200,2.0\n")
    event_file(tmp_path, *curve("rollout/ep_rew_mean"), *curve("train/loss"))
    (batch,), skipped, _ = load(tmp_path, "algo='ppo',env='Hopper-v4'")
    found = metrics(batch)
    assert skipped == [] and found["rollout/ep_rew_mean"].values.tolist() == [1.0, 2.0]
    assert found["train/loss"].steps.tolist() == [0, 100, 200, 300, 400]


def test_the_machines_name_in_a_file_name_is_not_kept(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    event_file(folder, *curve()).rename(folder / "events.out.tfevents.1700000000.ann-laptop.1.0")
    (batch,), _, _ = load(folder / "events.out.tfevents.1700000000.ann-laptop.1.0")
    assert "ann-laptop" not in str(batch.run) and batch.run.run == load(tmp_path)[0][0].run.run
