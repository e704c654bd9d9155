"""The analysis of a user study in words and tables (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.study_power import Variances, least_raters, least_share, power


def markdown(record: Mapping[str, Any]) -> str:
    """The whole analysis."""
    names, asked, raters = record["names"], record["asked"], record["raters"]
    part = f"{asked['split']}, {asked['part']}" if asked["split"] else "all clips"
    lines = [
        f"# User study {record['study']}",
        "",
        f"A: {names['a']}  ",
        f"B: {names['b']}  ",
        f"Data: {record['data']['name']} ({part}), digest {record['data']['digest'][:16]}, protocol {asked['protocol']}  ",
        f"Rule, written when the study was built: {rule_words(record['rule'])}",
        "",
        *_preference(record),
        "## Raters and answers",
        "",
        (
            f"{_many(raters['answered'], 'rater')} answered, {raters['finished']} finished, {raters['counted']} counted. "
            + (
                f"Not counted: {_reasons(raters['excluded'])}."
                if raters["excluded"]
                else "None was left out."
            )
        ),
        "",
        f"- Checks passed: {_of(record['checks']['passed'], record['checks']['shown'])} (true motion against broken)",
    ]
    if "repeats" in record:
        lines += _conduct(record)
    lines += ["", *(f"> {warning}" for warning in record["warnings"])]
    return "\n".join(lines).rstrip() + "\n"


def rule_words(rule: Mapping[str, int], checks: int | None = None) -> str:
    """The rule by which raters count, and how likely one who guesses passes it."""
    allowed = rule["failed_checks_allowed"]
    words = f"a rater counts who has answered at least {rule['least_screens']} screens and missed "
    words += f"at most {allowed} of the checks." if allowed else "none of the checks."
    if checks is None:
        return words
    if not checks:
        return f"{words} There are no checks: nothing will show who did not look."
    from scipy import stats

    return f"{words} One who guesses passes {checks} checks with a chance of {stats.binom.cdf(allowed, checks, 0.5):.0%}."


def power_lines(
    parts: Variances, *, raters: int, clips: int, per_rater: int, share: float, source: str
) -> list[str]:
    """What so many raters and clips can see, in sentences; `source` says where the variances are from."""
    sizes = {"clips": clips, "per_rater": per_rater}
    least = least_share(parts, raters=raters, **sizes)
    found = power(share, parts, raters=raters, **sizes)
    needed = least_raters(share, parts, **sizes)
    return [
        (
            f"{raters} raters, {clips} clips, {per_rater} pairs a rater: "
            + (
                f"a preference of {least:.0%} or more is found"
                if least
                else "not even a preference of 100% is found"
            )
            + " with a chance of 80%."
        ),
        f"A preference of {share:.0%} is found with a chance of {found:.0%}.",
        (
            f"For 80% it needs {needed} raters on these clips."
            if needed
            else f"No number of raters brings it to 80% on {clips} clips: take more clips, of more groups."
        ),
        (
            f"{source}: of an answer's variance {_part(parts.raters, parts)} lie between raters and "
            f"{_part(parts.clips, parts)} between clips."
        ),
    ]


def _preference(record: Mapping[str, Any]) -> list[str]:
    if "preference" not in record:
        return []
    found, answers, signs = record["preference"], record["answers"], record["sign_tests"]
    ties = f", {answers['same']} see no difference (each counts half)" if answers["same"] else ""
    return [
        "## Preference",
        "",
        (
            f"**A is preferred in {found['share']:.1%}** of answers, 95% {_interval(found, percent=True)}, "
            f"p = {found['p']:.3f} against one half: {_verdict(found)}"
        ),
        "",
        (
            f"{answers['counted']} answers: {answers['a']} for A, {answers['b']} for B{ties}. Interval and p hold for other "
            "raters and other groups alike."
        ),
        "",
        "| sign test, exact, of one kind of chance alone | prefer A | prefer B | even | p |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {what} | {row['prefer_a']} | {row['prefer_b']} | {row['even']} | {row['p']:.3f} |"
            for what, row in signs.items()
        ),
        "",
        f"| {record['asked']['group']} | A is preferred | answers |",
        "| --- | --- | --- |",
        *(f"| {row['group']} | {row['share']:.0%} | {row['answers']} |" for row in record["groups"]),
        "",
    ]


def _verdict(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return "nothing can be said beyond these raters and groups."
    if found["p"] >= 0.05:
        return "no significant difference."
    return f"{'A' if found['share'] > 0.5 else 'B'} is preferred."


def _conduct(record: Mapping[str, Any]) -> list[str]:
    agreed, left, time = record["agreement"], record["left"], record["answer_s"]
    lines = [
        f"- Repeated pairs answered the same: {_of(record['repeats']['same'], record['repeats']['shown'])}",
        (
            f"- Agreement: Krippendorff's alpha {_number(agreed['alpha']['estimate'])} {_interval(agreed['alpha'])}"
            + ("" if agreed["agreed"] is None else f"; two raters give one answer in {agreed['agreed']:.0%}")
        ),
        f"- Left is chosen in {left['share']:.1%} {_interval(left, percent=True)}; A stood left in {left['a_left']:.1%}",
        (
            f"- An answer took {time['median']:.1f} s (half of them {time['low']:.1f} to {time['high']:.1f}), with "
            f"{record['plays']:g} plays"
        ),
    ]
    if made := record["power"]:
        sizes = {name: made[name] for name in ("raters", "clips", "per_rater")}
        lines += ["", "## Power", ""]
        lines += power_lines(
            Variances(**made["variances"]), **sizes, share=made["planned_share"], source="From these answers"
        )
    return lines


def _interval(found: Mapping[str, Any], *, percent: bool = False) -> str:
    if found["low"] is None:
        return "(no interval)"
    number = "{:.1%}" if percent else "{:.2f}"
    return f"({number.format(found['low'])} to {number.format(found['high'])})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _part(value: float, parts: Variances) -> str:
    total = parts.raters + parts.clips + parts.answers
    return f"{value / total:.0%}" if total else "none"


def _of(some: int, every: int) -> str:
    return f"{some} of {every} ({some / every:.0%})" if every else "none shown"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _reasons(excluded: Mapping[str, int]) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in sorted(excluded.items()))
