"""Which learning rates are good? Plain and equalized, on text, on digits and for a GAN.

    python docs/examples/rates.py [--tasks NAME ...] [--seeds N] [--steps N] [--workers N] ...

Trains a transformer and an LSTM on the English of Python's own help pages, a ResNet and a
progressive GAN on real digits; each with torch's initialization, with that of the equalized form,
and equalized, over rows of learning rates. Adds each result to rates.csv, and goes on where an
earlier call was stopped; then prints tables, and draws rates.png.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import statistics
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import options as shared
import rates_picture
from rate_tasks import FORMS, TASKS
from tqdm import tqdm

from equalized_lr import translate_lr

GOOD = 1.1  # a rate is good if its mean score is at most so many times the form's best


class Trial(NamedTuple):
    task: str
    form: str
    exponent: int
    seed: int


Scores = dict[Trial, float]
Rows = dict[str, dict[int, list[float]]]  # scores by form and by exponent of the rate


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    shared.use(options)
    path = options.out / "rates.csv"
    scores = read(path)
    trials = [trial for trial in trials_of(options) if trial not in scores]
    with (
        ProcessPoolExecutor(options.workers, initializer=shared.use, initargs=(options,)) as pool,
        path.open("a", newline="") as file,
    ):
        results = pool.map(run, trials, itertools.repeat(options.steps))
        for trial, score in zip(trials, tqdm(results, total=len(trials), disable=options.quiet)):  # noqa: B905
            scores[trial] = score
            csv.writer(file).writerow((*trial, f"{score:.6g}"))
            file.flush()
    by_task = {task: rows for task in TASKS if (rows := rows_of(scores, task))}
    tables = (best_table(by_task), one_rate_table(by_task), translation_table(by_task))
    print(*tables, sep="\n\n")
    rates_picture.draw(by_task, options.out / "rates.png")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = shared.parser(__doc__, threads=1)
    shared.add_out(parser)
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3, help="trainings for each point")
    parser.add_argument("--steps", type=int, help="in place of each task's own number")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    return parser.parse_args(arguments)


def trials_of(options: argparse.Namespace) -> list[Trial]:
    """Seed by seed, so that a run that is stopped has whole curves."""
    trials = []
    for seed, name, form in itertools.product(range(options.seeds), options.tasks, FORMS):
        low, high = TASKS[name].equalized if form == "equalized" else TASKS[name].plain
        trials += [Trial(name, form, exponent, seed) for exponent in range(low, high + 1)]
    return trials


def run(trial: Trial, steps: int | None) -> float:
    """The final number of a training; infinite if it explodes."""
    task = TASKS[trial.task]
    score = task.score(trial.form, 2.0**trial.exponent, steps or task.steps, trial.seed)
    return score if math.isfinite(score) else math.inf


def read(path: Path) -> Scores:
    """What earlier calls have left."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {
            Trial(task, form, int(exponent), int(seed)): float(score)
            for task, form, exponent, seed, score in csv.reader(file)
        }


def rows_of(scores: Scores, task: str) -> Rows:
    rows: Rows = defaultdict(lambda: defaultdict(list))
    for trial, score in sorted(scores.items()):
        if trial.task == task:
            rows[trial.form][trial.exponent].append(score)
    return {form: dict(rows[form]) for form in FORMS if form in rows}


def means(row: dict[int, list[float]]) -> dict[int, float]:
    return {exponent: statistics.fmean(row[exponent]) for exponent in row}


def best_table(by_task: dict[str, Rows]) -> str:
    """For each task and form the best score, its rate, and the rates that are nearly as good."""
    lines = [("task", "form", "best score", "spread of seeds", "at rate", "good rates")]
    for task, rows in by_task.items():
        for form, row in rows.items():
            mean = means(row)
            best = best_exponent(row)
            good = [exponent for exponent in mean if mean[exponent] <= GOOD * mean[best]]
            seeds = f"{min(row[best]):.3g} to {max(row[best]):.3g}"
            span = f"2^{min(good)} to 2^{max(good)}"
            lines.append((task, form, f"{mean[best]:.3g}", seeds, f"2^{best}", span))
    return markdown(lines)


def one_rate_table(by_task: dict[str, Rows]) -> str:
    """For each form the rate that serves all tasks best, and its score over each task's best."""
    lines = [("one rate for all", "rate", *by_task)]
    for form in FORMS:
        losses = {task: means(rows[form]) for task, rows in by_task.items() if form in rows}
        shared_rates = set.intersection(*map(set, losses.values())) if losses else set()
        if not shared_rates:
            continue
        ratios = {
            exponent: [mean[exponent] / min(mean.values()) for mean in losses.values()]
            for exponent in sorted(shared_rates)
        }
        best = min(ratios, key=lambda exponent: max(ratios[exponent]))
        lines.append((form, f"2^{best}", *(f"{ratio:.2f}" for ratio in ratios[best])))
    return markdown(lines)


def translation_table(by_task: dict[str, Rows]) -> str:
    """What translate_lr makes of the best plain rate, beside the best equalized one."""
    lines = [("task", "best plain rate", "translated", "best equalized rate")]
    for task, rows in by_task.items():
        if "equalized" in rows:
            plain, equalized = (2.0 ** best_exponent(rows[form]) for form in (FORMS[0], FORMS[2]))
            translated = translate_lr(TASKS[task].build("equalized"), plain)
            lines.append((task, f"{plain:.2g}", f"{translated:.2g}", f"{equalized:.2g}"))
    return markdown(lines)


def best_exponent(row: dict[int, list[float]]) -> int:
    mean = means(row)
    return min(mean, key=mean.__getitem__)


def markdown(lines: list[tuple[str, ...]]) -> str:
    head, *rows = lines
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


if __name__ == "__main__":
    main()
