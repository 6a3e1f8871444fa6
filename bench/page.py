"""Write `bench/README.md`, and the README's table, from `scores.json` and `results.json`."""

import json
import math
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEYS = ("second_judge_agreement", "fld", "coverage", "diversity_ratio", "memorised_fraction")


MARKS = "<!-- scores: written by `make scores` -->\n", "<!-- /scores -->"
NAMES = {
    "archetype": "`archetype`: grouped targets",
    "unseen": "`unseen`: the same, with every lever for voices never heard",
    "flow": "`flow`: 4 evaluations an image, a shortened run",
}
TALK = "| the talk: its VAE, pairs, 100 epochs | 90/10 | | 93.7% | | |"


def write() -> None:
    """Put both tables into the page, and the short one into the project's README."""
    readme = HERE.parent / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    short = summary(_read("scores.json"))
    readme.write_text(before + MARKS[0] + short + MARKS[1] + after, encoding="utf-8")
    (HERE / "README.md").write_text(
        "# Measured here\n\n"
        "Written by `make bench` and `make scores`; do not edit.\n\n"
        + scores(_read("scores.json"))
        + speeds(_read("results.json")),
        encoding="utf-8",
    )


def scores(found: dict[str, Any]) -> str:
    """The published scores, a row a recipe and split."""
    if not found:
        return ""
    lines = [
        "## Scores (`make scores`)\n",
        "Audio: FSDD v1.0.10, the deck's four speakers. Images: MNIST. Agreement: share of the "
        "10,000 test pairs whose drawing LeNet5 reads as the digit said; 95% interval over test "
        "recordings, each averaged over the seeds first. `random` is the deck's 90/10 split; "
        "`speaker:NAME` trains without that speaker and tests on them alone.\n",
        "| preset | split | synthetic voices | seeds | steps | agreement | 95% | recordings | "
        "second judge | FLD | coverage | diversity | memorised |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in found.values():
        row, card = entry["row"], entry["scorecard"]
        low, high = card["agreement_ci95"]
        rest = " | ".join(f"{card[key]:.3g}" for key in KEYS[1:])
        name = row["preset"] + _memory(row)
        lines.append(
            f"| {name} | {row['split']} | {row['crowd']} | {len(row['seeds'])} | "
            f"{entry['steps']:,} | **{card['agreement']:.1%}** | {low:.1%} to {high:.1%} | "
            f"{card['n_recordings']} | {card['second_judge_agreement']:.1%} | {rest} |"
        )
    lines.append("\n" + unseen(found))
    commands = "\n".join(f"    {command}" for command in found)
    return "\n".join(lines) + f"\n\nCommands (first seed):\n\n{commands}\n\n"


def unseen(found: dict[str, Any]) -> str:
    """Agreement on each speaker that was left out, a row a recipe."""
    speakers = sorted({s for e in found.values() if (s := speaker(e))})
    rows: dict[str, dict[str, Any]] = {}
    confusions: dict[str, dict[str, Any]] = {}
    for entry in found.values():
        row = entry["row"]
        if (who := speaker(entry)) is not None:
            voices = f", {row['crowd']} synthetic voices besides" if row["crowd"] else ""
            seeds = f"{len(row['seeds'])} seed{'s' * (len(row['seeds']) > 1)}"
            name = f"`{row['preset']}`{_memory(row)}, {entry['steps']:,} steps, {seeds}{voices}"
            rows.setdefault(name, {})[who] = entry["scorecard"]
            if once := entry.get("one_evaluation"):
                rows.setdefault(f"{name}; in 1 evaluation", {})[who] = once
            if "confusion" in entry:
                confusions.setdefault(name, {})[who] = _confused(entry["confusion"])
    lines = [
        "Trained without a speaker, tested on the 500 recordings of that speaker; intervals are "
        "over recordings, the mean is of these four speakers:\n",
        f"| recipe | {' | '.join(speakers)} | mean |",
        f"|---|{'---|' * len(speakers)}---|",
    ]
    for name, cards in rows.items():
        if {*cards} == {*speakers}:
            cells = [_interval(cards[who]) for who in speakers]
            lines.append(f"| {name} | {' | '.join(cells)} | {_mean([*cards.values()])} |")
    lines += [
        "\nWhat is said and what is read instead, the most frequent, as shares of all drawings:\n",
        f"| recipe | {' | '.join(speakers)} |",
        f"|---|{'---|' * len(speakers)}",
    ]
    for name, texts in confusions.items():
        if {*texts} == {*speakers}:
            lines.append(f"| {name} | {' | '.join(texts[who] for who in speakers)} |")
    return "\n".join(lines) + "\n"


def _memory(row: dict[str, Any]) -> str:
    """What to add to the name of a recipe whose memory was left out."""
    return ", no memory" if row["overrides"].get("memory") == "0" else ""


def _confused(confusion: list[list[int]], most: int = 3) -> str:
    """The most frequent errors of a table of counts [said, read]."""
    total = sum(map(sum, confusion))
    wrong = [
        (count / total, said, read)
        for said, counts in enumerate(confusion)
        for read, count in enumerate(counts)
        if said != read and count
    ]
    return ", ".join(f"{a} → {b} {share:.1%}" for share, a, b in sorted(wrong, reverse=True)[:most])


def _interval(card: dict[str, Any]) -> str:
    low, high = card["agreement_ci95"]
    return f"{card['agreement']:.1%} ({low:.1%} to {high:.1%})"


def _mean(cards: list[dict[str, Any]]) -> str:
    """The mean over these speakers, and its interval over their recordings."""
    mean = sum(card["agreement"] for card in cards) / len(cards)
    widths = [(high - low) / 2 for low, high in (card["agreement_ci95"] for card in cards)]
    half = math.hypot(*widths) / len(cards)
    return f"**{mean:.1%}** ({mean - half:.1%} to {mean + half:.1%})"


def speaker(entry: dict[str, Any]) -> str | None:
    """The speaker that was left out, or None."""
    split: str = entry["row"]["split"]
    return split.removeprefix("speaker:") if split.startswith("speaker:") else None


def summary(found: dict[str, Any]) -> str:
    """The few columns that a first reader wants."""
    lines = [
        "| model | split | seeds | agreement | 95% interval | test recordings |",
        "|---|---|---|---|---|---|",
        TALK,
    ]
    firsts = {(e["row"]["preset"], e["row"]["split"]): e for e in reversed(found.values())}
    for entry in reversed(firsts.values()):
        row, card = entry["row"], entry["scorecard"]
        low, high = card["agreement_ci95"]
        split = {"random": "90/10", "crowd": f"{row['crowd']} synthetic speakers alone"}.get(
            row["split"], f"never heard {speaker(entry)}"
        )
        lines.append(
            f"| {NAMES[row['preset']]}{_memory(row)} | {split} | {len(row['seeds'])} | "
            f"**{card['agreement']:.1%}** | {low:.1%} to {high:.1%} | {card['n_recordings']} |"
        )
    return "\n".join(lines) + "\n"


def speeds(found: dict[str, Any]) -> str:
    """The speeds, as ratios taken in one run."""
    if not found:
        return ""
    parts = [
        f"## Speeds (`make bench`)\n\nOn {found['machine']}. On a CPU without bf16 instructions a "
        "bf16 matrix product is emulated: a step's share of it means nothing there.\n"
    ]
    for title, rows in found["tables"].items():
        names = list(rows[0])
        lines = ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
        head = f"### {title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}\n"
        parts.append(head + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _cell(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def _read(name: str) -> dict[str, Any]:
    path = HERE / name
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
