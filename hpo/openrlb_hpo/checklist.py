"""The reproducibility checklist of "Hyperparameters in Reinforcement Learning and How To Tune Them" (arXiv 2306.01324).

Filled in from a study's ledger; what the ledger cannot know is left open, and says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openrlb_hpo.result_words import one_line

if TYPE_CHECKING:
    from openrlb_hpo.records import StudyRecord
    from openrlb_hpo.result_records import StudyResult

ITEMS = 17


@dataclass(frozen=True, slots=True)
class Facts:
    """What a checklist needs and a ledger does not hold; an empty text is not known.

    Attributes:
        hardware: Processor, memory, accelerator.
        versions: Names and versions of the software; ``optuna`` among them.
        code: Where the code is (an address and a commit).
        command: The command line that tunes.
        lockfile: Where the locked environment is described; its hash comes from the study.
    """

    hardware: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    command: str = ""
    lockfile: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One item.

    Attributes:
        question: What is asked.
        answer: The answer in sentences.
        known: Whether it is answered; else ``answer`` says why not.
    """

    question: str
    answer: tuple[str, ...]
    known: bool = True


@dataclass(frozen=True, slots=True)
class Checklist:
    """A filled-in checklist.

    Attributes:
        study: The study's name.
        items: The items in the paper's order.
    """

    study: str
    items: tuple[Item, ...]

    def to_markdown(self) -> str:
        """A list with a ticked box for each item that is answered."""
        lines = [f"# Reproducibility checklist of {_markdown(self.study)}", ""]
        lines += ["The items of arXiv 2306.01324, filled in from the study's ledger; an empty box is not known to it.", ""]
        for number, item in enumerate(self.items, 1):
            lines.append(f"{number}. [{'x' if item.known else ' '}] **{_markdown(item.question)}**")
            lines += [f"    - {_markdown(sentence)}" for sentence in item.answer]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        r"""An ``enumerate`` for a paper's appendix; everything in it is escaped, and it needs no package."""
        lines = [f"% Reproducibility checklist (arXiv 2306.01324) of {one_line(self.study)}", r"\begin{enumerate}"]
        for item in self.items:
            lines.append(rf"  \item \textbf{{{_latex(item.question)}}}")
            answer = " ".join(map(_latex, item.answer))
            lines.append(f"    {answer}" if item.known else rf"    \emph{{{answer}}}")
        return "\n".join([*lines, r"\end{enumerate}"]) + "\n"


def checklist(record: StudyRecord, result: StudyResult, facts: Facts | None = None) -> Checklist:
    """Fills in the paper's checklist.

    Args:
        record: The study.
        result: Its answer.
        facts: What the ledger does not hold; without it those items stay open.
    """
    known = facts or Facts()
    items = [*_tuning(record, result, known), *_comparing(record, result), *_seeds(record, result), *_code(record, known)]
    if len(items) != ITEMS:
        raise AssertionError(f"the checklist has {ITEMS} items")
    return Checklist(result.study, tuple(items))


def _tuning(record: StudyRecord, result: StudyResult, facts: Facts) -> list[Item]:
    """Items 1 to 6: settings, tuner, space, metric, budget."""
    settings = record.settings
    where = ", ".join(settings.envs) + (f" with {_json(settings.env_kwargs)}" if settings.env_kwargs else "")
    version = facts.versions.get("optuna", "")
    tuner = f"Optuna {version}".strip() + f", method {settings.method}, sampler seed {settings.study_seed}"
    racing = f"a race over seeds that keeps the best 1/{settings.eta}" if settings.eta > 1 else "no pruning"
    confirm = f"the best {settings.confirm} trials run again on as many fresh seeds" if settings.confirm else "no confirmation"
    space = f"The space {settings.space_name} for {settings.algo}, hash {settings.space_digest}."
    scored = f"The mean over {settings.tuning_seeds} tuning seeds of the return ({settings.kind}), one score per run by the rule"
    cost = result.cost
    return [
        Item(
            "Are there training and test settings, and is only the training setting used for training and tuning?",
            (
                f"Training, tuning and test use the same environments ({where}), {settings.steps:,} steps a run.",
                "They are told apart by seeds: tuning uses tuning and confirm seeds only, final results are on test seeds.",
            ),
        ),
        Item("Which package and method tuned the hyperparameters?", (f"{tuner}; {racing}; {confirm}.",)),
        Item("What is the configuration space of each algorithm?", (space, *_ranges(settings.space))),
        Item(
            "Do algorithms that share hyperparameters search the same ranges?",
            (f"A study tunes one algorithm. Studies with the space hash {settings.space_digest} searched the same ranges.",),
            known=False,
        ),
        Item(
            "Which cost metric is optimised?",
            (f"{scored} {settings.objective}{_scale(record)}; it is maximised.",),
        ),
        Item(
            "What is the tuning budget?",
            (
                f"{record.budget} runs of {settings.steps:,} steps, seeds and confirmation counted; {record.spent} spent.",
                f"Configurations tried, which is the budget where seeds are not counted: {cost.configurations}.",
                f"The test phase took {cost.test_runs} further runs; all runs took {cost.steps:,} environment steps.",
            ),
        ),
    ]


def _comparing(record: StudyRecord, result: StudyResult) -> list[Item]:
    """Items 7 to 9: the same for every method?"""
    settings = record.settings
    told = [f"{one.name} ({one.source})" for one in settings.baselines]
    untuned = f"The baselines were not tuned by this study: {'; '.join(told)}." if told else "The study has no baseline."
    tuned = f"Only the incumbent. {untuned}" if told else "The study reports no other method."
    return [
        Item("Is the tuning budget the same for all methods?", (untuned, "What others were given is not known."), known=False),
        Item(
            "Where the budget is time: is the hardware comparable?",
            (f"The budget counts runs, not time; all processes together took {result.cost.process_hours:.3g} hours.",),
        ),
        Item("Were all reported methods tuned this way?", (tuned,)),
    ]


def _seeds(record: StudyRecord, result: StudyResult) -> list[Item]:
    """Items 10 to 13: seeds and incumbents."""
    confirm = f"Confirm seeds: {_listed(result.seeds['confirm'])}." if result.seeds["confirm"] else ""
    tested, others = bool(result.seeds["test"]), max(result.test_peeks - 1, 0)
    looked = f"Other studies of {result.algo} in one of these environments that looked at them: {others}."
    seen = looked if tested else "The study has not been tested."
    chosen = result.incumbent
    incumbent: tuple[str, ...] = ("No incumbent is frozen.",)
    if chosen is not None:
        place = _json(dict(chosen.hyperparameters)) or "none beside the library's defaults"
        incumbent = (f"{settings_words(record)}: trial {chosen.trial} ({chosen.origin}), hyperparameters {place}.",)
    return [
        Item(
            "How many tuning seeds, and which?",
            tuple(
                text for text in (f"{record.settings.tuning_seeds} seeds: {_listed(result.seeds['tuning'])}.", confirm) if text
            ),
            known=bool(result.seeds["tuning"]),
        ),
        Item(
            "How many test seeds, and which?",
            (f"{record.settings.test_seeds} seeds: {_listed(result.seeds['test'])}.", seen),
            known=tested,
        ),
        Item(
            "Are all reported results on test seeds?",
            ("Yes; the tuning score is reported beside them and labelled optimistic.",)
            if result.finished
            else ("Not yet: the test phase is not finished.",),
            known=result.finished,
        ),
        Item("What are the final incumbents?", incumbent, known=chosen is not None),
    ]


def _code(record: StudyRecord, facts: Facts) -> list[Item]:
    """Items 14 to 17: code, environment, hardware."""
    settings = record.settings
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    locked = (
        f"Every run uses the environment with the lock hash {settings.lock} and the runner's source {settings.runner_source}."
    )
    ask = "Not known to the study: please fill in."
    lock = [locked, f"Lock file: {facts.lockfile}." if facts.lockfile else "", f"Versions: {versions}." if versions else ""]
    threads = f"{settings.threads} thread{'s' if settings.threads > 1 else ''} a run on {settings.device}"
    return [
        Item("Where is the code?", (facts.code or ask,), known=bool(facts.code)),
        Item("Does it include the tuning?", (f"Yes: {facts.command}" if facts.command else ask,), known=bool(facts.command)),
        Item("Is the exact software environment given?", tuple(text for text in lock if text)),
        Item(
            "Which hardware was used?",
            (f"{facts.hardware}; {threads}.",) if facts.hardware else (f"{threads}. {ask}",),
            known=bool(facts.hardware),
        ),
    ]


def settings_words(record: StudyRecord) -> str:
    """The algorithm and where it trains.

    Args:
        record: The study.
    """
    return f"{record.settings.algo} ({record.settings.impl}) on {', '.join(record.settings.envs)}"


def _scale(record: StudyRecord) -> str:
    """By what scores of several environments become comparable."""
    settings = record.settings
    if len(settings.envs) == 1:
        return ""
    ends = "; ".join(f"{env}: {zero:g} is 0, {one:g} is 1" for env, (zero, one) in settings.scale.items())
    return f", normalised by {settings.normalization} ({ends}), environments counting equally"


def _ranges(space: Mapping[str, object]) -> list[str]:
    """The space's parameters as its file writes them, one sentence each."""
    parameters = space.get("parameters")
    return [f"{name}: {_json(entry)}." for name, entry in parameters.items()] if isinstance(parameters, Mapping) else []


def _json(value: object) -> str:
    """A value as one line of JSON; an empty one as an empty text."""
    return json.dumps(value, default=str, ensure_ascii=False) if value not in ({}, (), [], None) else ""


def _listed(seeds: Sequence[int]) -> str:
    """Seeds one by one: each was really applied."""
    return ", ".join(map(str, seeds)) if seeds else "none yet"


def _markdown(text: str) -> str:
    r"""A text that Markdown shows as it is.

    >>> _markdown("a_b *c* <d>")
    'a\\_b \\*c\\* \\<d\\>'
    """
    return re.sub(r"([\\`*_\[\]<>#|~$])", r"\\\1", one_line(text))


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
}


def _latex(text: str) -> str:
    r"""A text that LaTeX sets as it is; two hyphens stay two.

    >>> _latex("50% of a_b {c}"), _latex("tune --env")
    ('50\\% of a\\_b \\{c\\}', 'tune -{}-env')
    """
    return re.sub("-(?=-)", "-{}", "".join(_LATEX.get(character, character) for character in one_line(text)))
