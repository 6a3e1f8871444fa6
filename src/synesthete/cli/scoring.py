"""The command that scores: a model, several seeds of one, degraded clips, the dial."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synesthete.cli import completion, options, show
from synesthete.cli.options import Arguments, Commands
from synesthete.errors import UserError


def evaluate(a: Arguments) -> None:
    """The scorecard of a model, or of several seeds of one recipe together."""
    from synesthete import artefact, evaluate_pairs, material, pairs_exam
    from synesthete import evaluate as scoring
    from synesthete.generate import check

    held = [artefact.read(name) for name in a.model]
    _check_engine(held, a)
    folder = a.pairs or material.default(options.mix_of(a, held[0].data))
    material.check_same(folder, held[0].data, asked=bool(a.pairs or a.split))
    if a.matcher or not pairs_exam.digits(folder):
        if a.degraded or a.dial:
            raise UserError("--degraded and --dial need labelled digits")
        engine = options.engine_of(a)
        own = evaluate_pairs.named(held, folder, a.matcher, a.side, a.seed, a.diversity, engine)
        _tell(held, own, a)
        return
    exam = scoring.prepare(*material.load(folder), split=a.side)
    check(1, a.diversity)
    if a.degraded or a.dial:
        _table(held, exam, a)
        return
    _tell(held, _card(held, exam, a), a)


def _check_engine(held: Sequence[Any], a: Arguments) -> None:
    """Refuse an engine for what is not drawn with it, rather than do without."""
    from synesthete.family import Generator

    if a.engine == "local":
        return
    if a.degraded or a.dial:
        raise UserError(f"--degraded and --dial do not take --engine {a.engine}")
    if not all(isinstance(each.model, Generator) for each in held):
        raise UserError(f"--engine {a.engine} is for models that draw from sound")


def _tell(held: Sequence[Any], card: dict[str, Any], a: Arguments) -> None:
    """Write a scorecard where it belongs, and print it."""
    from synesthete import artefact

    whole = a.evaluations is None and a.diversity == 1 and a.side == "test"
    ours = len(held) == 1 and Path(a.model[0]).is_dir() and not artefact.is_bundled(held[0])
    if whole and ours:
        artefact.write_scorecard(held[0], Path(held[0].name), card)
    if a.json:
        show.write_json(card, a.json)
    if a.json != "-":
        show.scorecard(card)


def _table(held: Sequence[Any], exam: Any, a: Arguments) -> None:
    """A row for each way to degrade the clips, or for each setting of the dial."""
    if len(held) > 1:
        raise UserError("--degraded and --dial take one model")
    from synesthete import dial, robustness, tables
    from synesthete.generate import Model

    asked, columns = (
        (robustness.robustness, ("condition", "agreement", "ci95", "lost", "refused"))
        if a.degraded
        else (dial.dial, dial.COLUMNS)
    )
    rows = asked(Model(held[0], evaluations=a.evaluations), exam, seed=a.seed)
    if a.json:
        show.write_json(rows, a.json)
    if a.json == "-":
        return
    body = [[text for name in columns for _, text in show.rows(name, row[name])] for row in rows]
    tables.show([name.replace("_", " ") for name in columns], body, held[0].preset.name)


def _card(held: Sequence[Any], exam: Any, a: Arguments) -> dict[str, Any]:
    """The scorecard of a model, or of several seeds of one recipe, by its kind."""
    from synesthete.family import ImageModel, Matcher

    if isinstance(held[0].model, Matcher):
        from synesthete import evaluate_matches, matching

        return evaluate_matches.evaluate([matching.Model(h) for h in held], exam, a.seed)
    if isinstance(held[0].model, ImageModel):
        from synesthete import evaluate_images

        return evaluate_images.pool([evaluate_images.evaluate(h, exam, a.seed) for h in held])
    from synesthete import evaluate as scoring
    from synesthete.generate import Model

    models = [Model(h, evaluations=a.evaluations) for h in held]
    engine = options.engine_of(a)
    answers = [scoring.evaluate(m, exam, a.seed, a.diversity, engine) for m in models]
    return scoring.pool(exam, answers, a.seed)


def add(commands: Commands) -> None:
    """The command `evaluate`."""
    p = options.command(commands, "evaluate", evaluate, """
  synesthete evaluate runs/archetype --json scorecard.json
  synesthete evaluate runs/seed0 runs/seed1 --pairs pairs
  synesthete evaluate digits --degraded             # noise, codecs, rooms
""")  # fmt: skip
    model = p.add_argument("model", nargs="+", metavar="MODEL",
                           help="a run or artefact folder; several are seeds of one")  # fmt: skip
    completion.by(completion.models, model)
    p.add_argument("--pairs", type=Path, help="an alignment (default: the one trained on)")
    p.add_argument("--split", help=f"of the default mix: {options.SPLITS}")
    p.add_argument("--validation", help="as it was built for tuning")
    p.add_argument("--matcher", type=Path, metavar="RUN",
                   help="an ave trained on these pairs, where they are no digits")  # fmt: skip
    p.add_argument("--degraded", action="store_true",
                   help="on noisy, coded, reverberant … clips: a row each")  # fmt: skip
    p.add_argument("--dial", action="store_true",
                   help="at every diversity, and at 1 to 8 evaluations: a row each")  # fmt: skip
    options.drawing(p)
    p.add_argument("--side", default="test", choices=("test", "validation"), help="default: test")
    p.add_argument("--json", metavar="FILE", help="write the scorecard; - for standard output")
    options.engine(p)
    options.seed(p)
    options.crowd(p)
    options.data(p)
