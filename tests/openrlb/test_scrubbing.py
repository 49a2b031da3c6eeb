"""No secret gets through, whatever stands around it; what is none stays as it is."""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlb.scrubbing import Scrubber, is_secret_name, scrubbed

AROUND = st.text(st.sampled_from([*string.ascii_letters, *string.digits, *" \t\n\"'(){}[]<>,;:=|&é"]), max_size=30)
PLANTED = (
    "https://ann:s3cr3tpass@github.com/lab/code.git",
    "https://ghp_abcdefghijklmnopqrstuvwxyz0123456789@github.com/lab/code",
    "ssh://git@host.example.org/lab/code",
    "ann.b@example.org",
    "/home/ann/x",
    "C:\\Users\\ann\\x",
    "hf_abcdefghijklmnopqrstuvwx",
    "github_pat_11ABCDEFG0123456789_abcdefgh",
    "glpat-abcdefghij0123456789",
    "sk-proj-abcdefghij0123456789",
    "AKIAABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijkl",
    "xoxb-123456789012-abcdef",
)
INSIDE = (
    *("s3cr3tpass", "ghp_abc", "git@host", "ann.b@", "/home/ann", "Users\\ann", "hf_abc", "github_pat_11", "glpat-abc"),
    *("sk-proj", "AKIAABC", "eyJhbGci", "xoxb-123"),
)


@given(AROUND, st.sampled_from(list(zip(PLANTED, INSIDE, strict=True))), AROUND)
def test_what_is_secret_goes_whatever_stands_beside_it(before: str, planted: tuple[str, str], after: str) -> None:
    text, inside = planted
    assert inside not in scrubbed(f"{before} {text} {after}")


@given(st.sampled_from(["WANDB_API_KEY", "--api-key", "password", "db_password", "hub_token", "client-secret"]), AROUND)
def test_what_a_secret_name_is_given_goes(name: str, before: str) -> None:
    value = "Zq7-planted_Value"
    for written in (f"{name}={value}", f"{name}: {value}", f'"{name}": "{value}"', f"{name} = '{value}'"):
        assert value not in scrubbed(f"{before} {written}"), written
    assert scrubbed({"outer": {name: value}}) == {"outer": {name: "[secret]"}}


@given(AROUND)
def test_scrubbing_twice_is_scrubbing_once(text: str) -> None:
    assert scrubbed(scrubbed(text)) == scrubbed(text)


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=100, tokenizer: bpe, secretary, keyboard", "learning_rate=0.0003", "https://github.com/lab/code@v1.2",
        "Hopper-v4 @ 1,000,000 steps", "ppo@sb3", "/homework/x", "~/x", "a" * 40, "key=0.1", "C:/data/x", "",
        "https://medium.com/@someone/post", "rollout/ep_rew_mean", "IQM of r: 3 (2 to 4)",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    scrubber = Scrubber()
    assert scrubber.text(text) == text and not scrubber.taken


def test_values_of_secret_variables_go_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("SOME_TOKEN", "short")
    monkeypatch.setenv("HOME", "/srv/people/ann")
    assert scrubbed(f"a short x{'0123456789' * 4}y in /srv/people/ann/z, not /srv/people/anna") == (
        "a short x[secret]y in ~/z, not /srv/people/anna"
    )


def test_records_keep_their_kind_and_arrays_stay_the_same_object() -> None:
    @dataclass(frozen=True)
    class Inner:
        text: str
        values: np.ndarray

    values = np.arange(3.0)
    calm, told = Inner("calm", values), Inner("ask ann@example.org", values)
    assert scrubbed((calm, 1)) == (calm, 1) and scrubbed(calm) is calm
    found = scrubbed([told, {"/home/ann": (told,)}])
    assert found[0].text == "ask [e-mail]" and found[0].values is values and list(found[1]) == ["~"]
    scrubber = Scrubber()
    scrubber.value(told)
    assert dict(scrubber.taken) == {"e-mail address": 1}


def test_names_of_secrets() -> None:
    assert all(map(is_secret_name, ("WANDB_API_KEY", "--token", "agent.hub_token", "GITHUB_TOKEN", "apikey", "AUTH-TOKEN")))
    assert not any(map(is_secret_name, ("max_tokens", "tokenizer", "key", "n_tokens", "secret_garden_env", "monkey")))


def test_long_texts_take_no_long_time() -> None:
    for text in ("a" * 200_000, "a@" * 50_000, "api_" * 50_000, "/home/" * 30_000, "x." * 100_000, "eyJ" * 60_000):
        scrubbed(text)  # a pattern that goes back and forth would take minutes
