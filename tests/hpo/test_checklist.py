"""The paper's checklist: filled in from the ledger, open where the ledger cannot know, safe in Markdown and LaTeX."""

from __future__ import annotations

import re

from hpo.study_builder import StudyBuilder
from hypothesis import given
from hypothesis import strategies as st

from openrlb_hpo.checklist import ITEMS, Checklist, Facts, Item, checklist
from openrlb_hpo.records import Baseline, StudyRecord
from openrlb_hpo.result import study_result
from openrlb_hpo.space import load_space

FACTS = Facts("8 cores, 32 GiB", {"optuna": "5.0.0"}, "https://example.org/code @abc", "openrlb tune ppo --budget 100", "uv.lock")
HOSTILE = "a_b & 50% #1 $x$ {y} ~ ^ \\input{z} <script> | `q`"
SPECIAL = re.compile(r"(?<!\\)[&%$#_^~<>|`]")
"""Characters that LaTeX would not set as they are."""


def study(frozen: bool = True) -> StudyRecord:
    space = load_space("eimer2023", "ppo")
    builder = StudyBuilder(space=space.to_json(), space_name="eimer2023", space_digest=space.digest, lock="lock-hash")
    builder.trial([430.0, 440.0, 441.0], [400.0, 410.0, 420.0])
    return (builder.test(0, [350.0, 360.0] * 5, default=[300.0, 310.0] * 5) if frozen else builder).record()


def filled(record: StudyRecord, facts: Facts | None = None) -> Checklist:
    return checklist(record, study_result(record, resamples=100), facts)


def test_a_whole_study_fills_in_everything_but_what_others_did() -> None:
    found = filled(study(), FACTS)
    assert len(found.items) == ITEMS == 17
    assert [number for number, item in enumerate(found.items, 1) if not item.known] == [4, 7]
    answers = [" ".join(item.answer) for item in found.items]
    assert "Optuna 5.0.0, method tpe, sampler seed 0" in answers[1]
    assert 'learning_rate: {"log": [1e-06, 0.01]}' in answers[2] and study().settings.space_digest in answers[2]
    assert "100 runs of 50,000 steps" in answers[5] and "not counted: 1." in answers[5]
    assert "100000000, 100001000, 100002000" in answers[9] and "200002000" in answers[9]
    assert "300009000" in answers[10] and "looked at them: 0." in answers[10]
    assert "trial 0" in answers[12] and "lock-hash" in answers[15] and "8 cores" in answers[16]


def test_what_is_not_known_says_so() -> None:
    bare, unfinished = filled(study()), filled(study(frozen=False))
    assert [number for number, item in enumerate(bare.items, 1) if not item.known] == [4, 7, 14, 15, 17]
    assert [number for number, item in enumerate(unfinished.items, 1) if not item.known] == [4, 7, 11, 12, 13, 14, 15, 17]
    assert "fill in" in bare.items[13].answer[0] and "not finished" in unfinished.items[11].answer[0]


def test_markdown_has_a_box_for_each_item() -> None:
    text = filled(study(), FACTS).to_markdown()
    assert re.findall(r"^(\d+)\. \[([x ])\]", text, re.M) == [(str(n), " " if n in (4, 7) else "x") for n in range(1, 18)]
    assert text.endswith("\n") and "learning\\_rate" in text


def test_latex_has_an_item_for_each_item_and_escapes_all() -> None:
    text = filled(study(), FACTS).to_latex()
    assert text.count(r"\item ") == 17 and "-{}-budget" in text
    body = "\n".join(text.splitlines()[1:])  # the first line is a comment
    assert not SPECIAL.search(body)


@given(st.one_of(st.just(HOSTILE), st.text(max_size=60)))
def test_no_text_escapes_its_place(text: str) -> None:
    found = Checklist(text, (Item(text, (text,)), Item("open", (text,), known=False)))
    latex = found.to_latex()
    lines = latex.splitlines()
    assert len(lines) == 7 and lines[0].startswith("% ") and not SPECIAL.search("\n".join(lines[1:]))
    assert _balanced("\n".join(lines[1:]))
    markdown = found.to_markdown()
    assert len(markdown.splitlines()) == 8 and not re.search(r"(?<!\\)<", markdown)


def _balanced(latex: str) -> bool:
    """Braces that are not escaped open and close each other."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def test_names_of_others_are_in_it_literally() -> None:
    builder = StudyBuilder(baselines=(Baseline("mine", {}, HOSTILE),)).trial([1.0, 2.0, 3.0], params={"policy": HOSTILE})
    found = filled(builder.test(0, [1.0, 2.0, 3.0] * 3 + [2.0], mine=[1.0] * 10).record(), FACTS)
    assert HOSTILE in found.items[8].answer[0]
    assert r"a\_b \& 50\% \#1 \$x\$ \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}input" in found.to_latex()
