"""Make the bundled model from nothing: `make digits` trains, scores and packs it, resumable."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from synesthete import artefact, cli, config
from synesthete import evaluate as scoring
from synesthete.generate import Model
from synesthete.material import MixConfig, default, facts, load

RUN = Path("runs/digits")
PACKED = Path("src/synesthete/models/digits")
CROWD = "300"


def main() -> None:
    """Train what is not trained yet, then pack it with its scorecard."""
    if facts(folder := default(MixConfig()))["audio_synthetic"]:
        raise SystemExit("FSDD could not be had: the bundled model is never of other speech alone")
    train = ["train", "flow", "--crowd", CROWD, "--out", str(RUN)]
    if not (RUN / artefact.CONFIG).exists() and (status := cli.main(train + resumed())):
        raise SystemExit(status)
    held = artefact.read(str(RUN))
    recipe = config.from_table(config.read("flow"))
    artefact.write(replace(held, preset=recipe, data=public(held.data)), PACKED)
    packed = artefact.read(str(PACKED))
    card = scoring.evaluate(Model(packed), scoring.prepare(*load(folder))).scorecard
    artefact.write_scorecard(packed, PACKED, card)


def resumed() -> list[str]:
    """`--resume` where the run was begun."""
    return ["--resume"] * RUN.exists()


def public(told: Any) -> Any:
    """What is told of the data, without the folders of the machine that it was trained on."""
    if isinstance(told, list | tuple):
        return [public(value) for value in told]
    if not isinstance(told, dict):
        return told
    private = told.get("place") in ("directory", "cache")
    return {k: "" if private and k == "detail" else public(v) for k, v in told.items()}


if __name__ == "__main__":
    main()
