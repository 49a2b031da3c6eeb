"""No secret gets through, whatever stands around it; what is none stays as it is."""

from __future__ import annotations

import base64
import string
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

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


NAMES = (
    *(
        "WANDB_API_KEY",
        "--token",
        "agent.hub_token",
        "GITHUB_TOKEN",
        "apikey",
        "AUTH-TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ),
    *("SLACK_TOKEN", "CI_JOB_TOKEN", "MLFLOW_TRACKING_TOKEN", "WANDB_KEY", "wandbApiKey", "wandb.api.key", "private_key"),
    *(
        "ssh_private_key",
        "encryption_key",
        "AZURE_STORAGE_KEY",
        "db_pass",
        "credentials",
        "secret_token",
        "API_KEY_2",
        "webhook_url",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_every_way_to_name_a_secret_is_known(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = "zQ8vYp3kLmN4"
    for written in (
        f"export {name}={value}",
        f'{{"{name}": "{value}"}}',
        f"{name}: {value}",
        f"os.environ['{name}'] = '{value}'",
    ):
        assert is_secret_name(name) and value not in scrubbed(written), written
    assert scrubbed({name: value}) == {name: "[secret]"}
    if "." not in name and name.isupper():
        monkeypatch.setenv(name, value)
        assert scrubbed(f"x{value}y") == "x[secret]y"


def test_names_of_no_secrets() -> None:
    names = (
        "max_tokens",
        "tokenizer",
        "key",
        "n_tokens",
        "pad_token",
        "monkey",
        "num_token",
        "forward_pass",
        "primary_key",
        "passes",
        "",
    )
    assert [name for name in names if is_secret_name(name)] == []


@pytest.mark.parametrize(
    "text",
    [
        "train.py --password hunter2 --lr 0.1", "['train.py', '--password', 'hunter2']", "https://h/x?a=1&token=hunter2&b=2",
        "machine api.wandb.ai login user password hunter2", '"password": "two hunter2 words"', "db_pass=hunter2",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----", "https://hooks.slack.com/services/T0/B0/hunter2",
        "url: hooks.slack.com/services/hunter2",
    ],
)  # fmt: skip
def test_secrets_in_command_lines_addresses_and_files_go(text: str) -> None:
    assert "hunter2" not in scrubbed(text)


def test_the_key_of_wandb_login_goes() -> None:
    key = "0123456789abcdef" * 2 + "01234567"
    logins = (f"wandb login {key}", f"wandb.login(key='{key}')", f"stderr: wandb: login --relogin {key}")
    for text in (*logins, f"local-{key}", f"key={key}"):
        assert key not in scrubbed(text), text
    assert scrubbed(["wandb", "login", key]) == ["wandb", "login", "[secret]"]
    assert scrubbed(["--password", "hunter2", "--lr", "0.1"]) == ["--password", "[secret]", "--lr", "0.1"]
    assert scrubbed(f"commit {key}") == f"commit {key}", "a commit looks like a key, and is none"


def test_what_this_machine_knows_goes_in_every_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password abcdef0123456789abcdef0123456789abcdef01\n")
    (tmp_path / "token").write_text("a-hub/token+of mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("MY_PASS", "/a/path/is/no/secret")
    for secret in ("abcdef0123456789abcdef0123456789abcdef01", "a-hub/token+of mine"):
        assert secret not in scrubbed(f"note: {secret}, and so on")
        assert quote(secret, safe="") not in scrubbed(f"https://h/{quote(secret, safe='')}")
        for before in ("", "u:", "us:", "use:"):
            encoded = base64.b64encode(f"{before}{secret}".encode()).decode()
            assert encoded[6:-6] not in scrubbed(f"kept {encoded}")
    assert scrubbed("/a/path/is/no/secret") == "/a/path/is/no/secret"
    (tmp_path / "netrc").write_text("not a netrc file {")
    assert scrubbed("calm") == "calm"


def test_long_texts_take_no_long_time() -> None:
    for text in ("a" * 200_000, "a@" * 50_000, "api_" * 50_000, "/home/" * 30_000, "x." * 100_000, "eyJ" * 60_000):
        scrubbed(text)  # a pattern that goes back and forth would take minutes
