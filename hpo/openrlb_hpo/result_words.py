"""A study's answer in words: one line that a reader may quote, then what bears on it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from openrlb_analysis.bounded import clopper_pearson
from openrlb_analysis.estimates import CALIBRATED
from openrlb_analysis.figures.words import count, listed, number, sentence
from openrlb_analysis.intervals import FEW_RUNS

if TYPE_CHECKING:
    from openrlb_hpo.records import StudyRecord
    from openrlb_hpo.result_records import Chosen, Difference, HeldOut, StudyResult
    from openrlb_hpo.result_scores import StudyScores

INCUMBENT = "incumbent"
GAP_NOTE = "its interval is over both sets of seeds and ignores that the incumbent was selected by its scores"


def result_lines(result: StudyResult) -> list[str]:
    """The headline in one line, then a few more.

    Args:
        result: The study's answer.
    """
    lines = [headline(result)]
    if result.incumbent is not None:
        lines.append(f"incumbent: {_place(result.incumbent)}")
        if result.incumbent.confirm_score is not None:
            seeds = count(len(result.seeds["confirm"]), "confirm seed")
            lines.append(f"confirmed at {number(result.incumbent.confirm_score)} on {seeds}, which it was chosen by")
    if result.gap is not None:
        gap = f"gap (tuning - test) {signed(result.gap.value)}{_ends(result.gap.low, result.gap.high)}"
        lines.append(f"{gap}: {GAP_NOTE}" if result.gap.low is not None else f"{gap}: no interval, too few seeds")
    lines += _others(result)
    if len(result.envs) > 1:
        lines += _by_environment(result)
    lines += [_counted(result), cost_line(result), *(f"note: {note}" for note in result.notes)]
    return [one_line(line) for line in lines]


def one_line(text: str) -> str:
    r"""A text without line breaks and control characters, whatever a name in it holds.

    >>> one_line("a\nb\x1b[31m")
    'a b [31m'
    """
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def headline(result: StudyResult) -> str:
    """The first line; it never gives a tuning score without saying what that is."""
    if result.incumbent is None or result.test is None:
        spent = f"{result.spent} of {count(result.budget, 'run')} spent"
        if result.best_so_far is None:
            return f"no result yet: no trial has all its tuning seeds; {spent}"
        best = f"trial {result.best_so_far.trial} tuned {_value(result.best_so_far.tuning_score)} (tuning, optimistic)"
        return f"no result yet: best so far {best}; not tested; {spent}"
    chosen = "tuned" if result.incumbent.origin == "sampled" else f"the {result.incumbent.origin} configuration was chosen:"
    lead = f"{chosen} {_value(result.incumbent.tuning_score)} (tuning, optimistic)"
    if not result.finished:
        every = (result.test, *result.baselines)
        done, of = sum(one.declared - one.unfinished for one in every), sum(one.declared for one in every)
        return f"{lead}; no test score yet: {done} of {of} test runs are done"
    seeds = seeds_words(result.test, len(result.envs))
    return f"{lead} -> test {_tested(result.test)} on {seeds}; {_compared(result)}; {peeks_words(result.test_peeks)}"


def seeds_words(tested: HeldOut, envs: int) -> str:
    """How many test seeds stand behind a score, and what became of the others.

    Args:
        tested: A configuration on the test seeds.
        envs: How many environments the study has.
    """
    every = tested.declared // envs if envs else tested.declared
    lacking = len(tested.missing) + tested.unfinished
    noun = "unseen seed" if every == 1 else "unseen seeds"
    told = [f"{every} {noun}" if envs == 1 else f"{every} {noun} in each of {envs} environments"]
    if lacking:
        told = [f"{tested.runs} of {tested.declared} runs on {told[0]}"]
    told += [f"{tested.diverged} of {tested.declared} diverged"] if tested.diverged else []
    lost = [missing for missing in tested.missing if missing.state != "diverged"]
    told += [f"{len(lost)} lost or failed"] if lost else []
    return told[0] + (f" ({', '.join(told[1:])})" if told[1:] else "")


def peeks_words(peeks: int) -> str:
    """How often the test seeds were looked at.

    >>> peeks_words(1), peeks_words(2), peeks_words(5)
    ('test seeds looked at once', 'test seeds looked at twice', 'test seeds looked at 5 times')
    """
    times = {0: "not yet", 1: "once", 2: "twice"}.get(peeks, f"{peeks} times")
    return f"test seeds looked at {times}"


def verdict_words(difference: Difference) -> str:
    """The verdict as a reader reads it.

    Args:
        difference: The incumbent beside the stronger baseline.
    """
    if difference.verdict == "equivalent":
        return f"equivalent within {number(difference.margin)}"
    if difference.verdict == "no evidence":
        return "no evidence of a difference" + ("" if difference.low is not None else " (no interval)")
    return difference.verdict


def random_words(record: StudyRecord, random: StudyRecord) -> str:
    """A random search beside a study in words, which say whether it had the same budget and test seeds.

    Args:
        record: The study.
        random: The random search.
    """
    mine, other = record.settings, random.settings
    equal = ["budget"] if record.budget == random.budget else []
    equal += ["test seeds"] if (mine.test_block, mine.test_seeds) == (other.test_block, other.test_seeds) else []
    unlike = [] if "budget" in equal else [f"a budget of {random.budget:,} runs, not {record.budget:,}"]
    unlike += [] if "test seeds" in equal else ["other test seeds"]
    told = [f"the same {' and '.join(equal)}"] if equal else []
    return f"random search ({other.name}) with {' and '.join([*told, *unlike])}"


def cost_line(result: StudyResult) -> str:
    """What the study took, and what a paper that does not count seeds would call it."""
    cost = result.cost
    budget = f"{result.spent} of {count(result.budget, 'budget run')} ({cost.tuning_runs} tuning, {cost.confirm_runs} confirm)"
    threads = "" if cost.threads == 1 else f" of {cost.threads} threads each"
    work = f"{cost.steps:,} environment steps, {number(cost.process_hours)} hours of processes{threads} (all runs and attempts)"
    tried = count(cost.configurations, "configuration")
    return (
        f"cost: {budget} and {count(cost.test_runs, 'test run')}, {work}; {tried} tried "
        f"(the budget of papers that do not count seeds), {number(cost.full_configurations)} times all tuning seeds"
    )


def signed(value: float) -> str:
    """A difference with its sign.

    >>> signed(0.6), signed(-73.0), signed(0.0)
    ('+0.600', '-73.00', '0')
    """
    return f"+{number(value)}" if value > 0 else number(value)


def notes_of(result: StudyResult, record: StudyRecord, scores: StudyScores) -> tuple[str, ...]:
    """Everything that a reader must know beside the numbers.

    Args:
        result: The answer, its notes still empty.
        record: The study.
        scores: Its scores.
    """
    notes = _missing_so_far(result, record)
    if len(result.envs) > 1:
        notes.append(f"scores are normalised by {result.normalization}, every environment counting equally")
    every = [one for one in (result.test, *result.baselines) if one is not None]
    for one in every:
        notes += _outcomes(one, scores, result.finished)
    if any(one.low is not None and not one.ceiling for one in every) and record.settings.test_seeds < FEW_RUNS:
        notes.append(f"fewer than {FEW_RUNS} test seeds: a failure that none of them had is not in the interval")
    if result.incumbent is not None and not result.baselines:
        notes.append("no baseline was declared, so that there is nothing to compare with")
    notes += _early(record)
    if result.incumbent is not None and record.spent < record.budget:
        notes.append(_left_over(record))
    if result.test_peeks > 1 and result.incumbent is not None:
        notes.append(f"{result.test_peeks} studies looked at these test seeds, each look a chance to choose by them")
    return tuple(sentence(note) for note in notes)


def _left_over(record: StudyRecord) -> str:
    """What of the budget was not spent, and what one more configuration and its confirmation would have taken."""
    settings, whole = record.settings, sum(trial.state == "complete" for trial in record.trials)
    confirmed = sum(row.role == "confirm" for row in record.reservations)
    more = settings.full_trial * (1 + min(settings.confirm, whole + 1)) - confirmed
    what = "one more configuration" if more <= settings.full_trial else "one more configuration and its confirmation"
    left = f"{record.budget - record.spent} of {count(record.budget, 'run')} of the budget are left over"
    return f"{left}: {what} may take {more}"


def _early(record: StudyRecord) -> list[str]:
    """Which runs had no episode where the rule looks, by role."""
    counts = Counter(row.role for row in record.reservations if row.state == "finished" and row.reason)
    if not counts:
        return []
    told = ", ".join(f"{count} {role}" for role, count in counts.items())
    where = f"ended no episode where {record.settings.objective} looks, and are scored by the last ones before"
    return [f"{told} runs {where}: with more steps, or fewer environments at a time, that would not happen"]


def _missing_so_far(result: StudyResult, record: StudyRecord) -> list[str]:
    """What an unfinished study lacks."""
    if result.finished:
        return []
    if result.incumbent is not None:
        return ["the test phase is not over: its scores are shown when all of its runs are done, so that nobody decides by some"]
    kept = record.settings.confirm_runs - result.cost.confirm_runs
    confirm = f"; {kept} more are kept for the confirmation" if kept > 0 else ""
    return [f"no incumbent is frozen, so that nothing was tested: {record.spent} of {record.budget} runs are spent{confirm}"]


def _outcomes(tested: HeldOut, scores: StudyScores, finished: bool) -> list[str]:
    """What bears on one configuration's test score."""
    notes, named = [], tested.name if tested.name == INCUMBENT else f"baseline {tested.name}"
    for env in tested.per_env:
        worst = scores.extremes(env.env)
        if env.diverged and worst is not None:
            told = f"{named}: {env.diverged} of {env.declared} test runs in {env.env} diverged and count at"
            notes.append(f"{told} {number(worst[0])}, the worst finite score of the study there")
    for run in tested.missing:
        reason = f" ({run.reason})" if run.reason else ""
        why = "diverged and has no finite score to count at" if run.state == "diverged" else f"{run.state}{reason}"
        notes.append(f"{named}: test run {run.run} of seed {run.seed} in {run.env} does not count: {why}")
    if not finished:
        return notes
    if tested.ceiling:
        fewest = min(len(env.scores) for env in tested.per_env)
        share = float(clopper_pearson(0, fewest, CALIBRATED.level)[1])
        where = " in each environment" if len(tested.per_env) > 1 else ""
        told = f"its {fewest} test runs{where} scored alike, which cannot rule out"
        reach = "the interval reaches where the mean would lie if those had the worst or the best score of the study"
        notes.append(f"{named}: {told} that {share:.0%} of runs differ (Clopper-Pearson): {reach}")
    if tested.score is None:
        none = listed(env.env for env in tested.per_env if not env.scores)
        notes.append(f"{named}: no test run counts in {none}, so that it has no test score")
    elif tested.low is None:
        fewest = min(len(env.scores) for env in tested.per_env)
        why = f"an interval needs 3 runs, there {'is' if fewest == 1 else 'are'} {fewest}" if fewest < 3 else _all_equal()
        notes.append(f"{named}: no interval: {why}")
    return notes


def _all_equal() -> str:
    """Why runs enough may still have no interval."""
    return "every run of the study scored the same, which says nothing of how much runs differ"


def _compared(result: StudyResult) -> str:
    """The stronger baseline and the verdict."""
    found = result.difference
    is_one = f"the incumbent is the baseline {result.incumbent_is}"
    if found is None and result.incumbent_is is not None:
        return f"{is_one}, and no other is stronger" if len(result.baselines) > 1 else is_one
    if found is None:
        return "no baseline was declared" if not result.baselines else "nothing to compare: a test score is missing"
    baseline = next(one for one in result.baselines if one.name == found.baseline)
    told = f"{baseline.name} on the same test seeds {_tested(baseline)}{_short(baseline)}"
    told = f"{told}; difference {signed(found.value)}{_ends(found.low, found.high)}: {verdict_words(found)}"
    return told if result.incumbent_is is None else f"{is_one}; {told}"


def _short(tested: HeldOut) -> str:
    """What became of a baseline's test runs, where not all of them count as they are."""
    lost = len([missing for missing in tested.missing if missing.state != "diverged"])
    told = [f"{tested.diverged} of {tested.declared} diverged"] if tested.diverged else []
    told += [f"{lost} of {tested.declared} lost or failed"] if lost else []
    return f" ({', '.join(told)})" if told else ""


def _others(result: StudyResult) -> list[str]:
    """The baselines that the headline does not name."""
    named = {result.incumbent_is, result.difference.baseline if result.difference else None}
    every = [one for one in result.baselines if one.name not in named and result.finished]
    return [f"{one.name} on the same test seeds {_tested(one)}{_short(one)}" for one in every]


def _by_environment(result: StudyResult) -> list[str]:
    """A line for each environment, in its own unit; none before the test phase is over."""
    if not result.finished:
        return []
    lines = []
    for index, env in enumerate(result.envs):
        told = []
        for one in (result.test, *result.baselines):
            if one is not None:
                cell = one.per_env[index]
                told.append(f"{one.name} {_value(cell.score)}{_ends(cell.low, cell.high)}")
        lines += [f"{env} (test): {', '.join(told)}"] if told else []
    return lines


def _counted(result: StudyResult) -> str:
    """How trials and runs ended."""
    counts = result.counts
    ended = [f"{counts.complete} complete", f"{counts.pruned} pruned", f"{counts.failed} failed"]
    ended += [f"{counts.running} running"] if counts.running else []
    runs = f"{counts.runs_diverged} diverged, {counts.runs_lost} lost, {counts.runs_failed} failed"
    return f"trials: {', '.join(ended)}; runs: {runs}"


def _place(chosen: Chosen) -> str:
    """A trial with its parameters."""
    params = ", ".join(f"{name}={_parameter(value)}" for name, value in chosen.params.items())
    return f"trial {chosen.trial} ({chosen.origin})" + (f", {params}" if params else "")


def _parameter(value: object) -> str:
    """A parameter for people; its exact value is in the JSON."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tested(tested: HeldOut) -> str:
    """A test score with its interval."""
    return f"{_value(tested.score)}{_ends(tested.low, tested.high)}"


def _value(value: float | None) -> str:
    """A score, or that there is none."""
    return "none" if value is None else number(value)


def _ends(low: float | None, high: float | None) -> str:
    """An interval after its value; empty where there is none."""
    return "" if low is None or high is None else f" [{number(low)}, {number(high)}]"
