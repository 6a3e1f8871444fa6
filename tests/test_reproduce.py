"""The reproduction: its systems, its stages, its pages."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synesthete import cli, config, evaluate, material
from synesthete.cli import training
from synesthete.data import storage, toy
from synesthete.data.labels import Labels
from synesthete.errors import UserError
from synesthete.evaluate import Exam
from synesthete.reproduce import page, reproduce, sheets, stage, story, systems
from synesthete.reproduce.page import Picture, Section, Story, Table
from synesthete.reproduce.systems import SYSTEMS, System, chosen

TINY = {"steps": "2"}
FACTS = {"digest": "d", "origins": [], "split": "random", "counts": {"splits": {}}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small alignment on disk: toy shapes that pass for ten digits."""
    folder = tmp_path_factory.mktemp("pairs") / "toy"
    alignment, labels = toy.build(classes=4, recordings=80, images=800)
    digit = {name: str(i) for i, name in enumerate(labels.classes)}
    named = Labels(
        {k: digit[v] for k, v in labels.audio.items()},
        {k: digit[v] for k, v in labels.images.items()},
        labels.groups,
        frozenset(alignment.subset("train").image_ids[:100]),
    )
    storage.save(alignment, folder, beside=named.save)
    return folder


@pytest.fixture(scope="module")
def exam(place: Path) -> Exam:
    return evaluate.prepare(*material.load(place))


def test_every_system_of_the_deck_is_there_with_a_command_that_trains_it() -> None:
    assert {system.preset for system in SYSTEMS} >= {
        "autoencoder", "image-autoencoder", "image-vae", "image-gan", "deck-vae", "gan",
        "vae-gan", "avc", "ave",
    }  # fmt: skip
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS)
    assert {system.name for system in SYSTEMS} >= {*story.READINGS}
    assert len(systems.ALPHAS) >= 6
    assert float(systems.ALPHAS[-1]) / float(systems.ALPHAS[0]) >= 100
    for system in SYSTEMS:
        words = shlex.split(system.command(1))[1:]
        arguments, rest = cli.parser().parse_known_args(words)
        recipe = config.from_table(config.read(arguments.preset), training.overrides(rest))
        assert recipe == system.recipe()
        assert arguments.seed == 1


def test_a_quick_run_is_every_preset_for_fewer_steps_and_one_seed() -> None:
    quick = {system.name: system for system in chosen(quick=True)}
    full = {system.name: system for system in chosen(quick=False)}
    assert {s.preset for s in quick.values()} == {s.preset for s in full.values()}
    for name, system in quick.items():
        assert system.seeds == (0,)
        assert system.recipe().training.steps <= full[name].recipe().training.steps
    assert [s.name for s in chosen(quick=False, only="avc")] == ["avc"]
    assert [s.name for s in chosen(quick=False, only="av")] == [
        "avc", "avc-shuffled", "ave", "ave-shuffled",
    ]  # fmt: skip
    assert [s.name for s in chosen(quick=False, only="gan,avc")] == ["gan", "avc"]
    with pytest.raises(UserError, match="no system 'vqvae'; there are: image-autoencoder"):
        chosen(quick=False, only="gan,vqvae")


@pytest.mark.parametrize(
    ("preset", "kinds"),
    [
        ("archetype", {"last-epoch", "test", "reconstruction", "interpolation", "latent"}),
        ("image-vae", {"samples", "reconstruction"}),
        ("image-gan", {"samples"}),
        ("ave", {"neighbours"}),
    ],
)
def test_a_stage_trains_scores_and_draws_once(
    preset: str, kinds: set[str], place: Path, exam: Exam, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sheets, "first_of_each", lambda exam: np.arange(10) % len(exam.heard))
    system = System("mine", preset, "Mine", TINY, seeds=(0, 1))
    result = stage.run(system, place, exam, tmp_path)
    assert json.loads(json.dumps(result)) == stage.read(system, tmp_path)
    assert result["steps"] == 2
    assert len(result["seconds"]) == 2
    assert set(evaluate.KEYS) <= set(result["scorecard"])
    found = {path.stem.removeprefix("mine-") for path in (tmp_path / "figures").glob("*.png")}
    assert found == kinds
    monkeypatch.setattr("synesthete.runs.run", _never)
    assert stage.run(system, place, exam, tmp_path) == stage.read(system, tmp_path)
    with pytest.raises(AssertionError, match="trained again"):
        stage.run(System("mine", preset, "Mine", {"steps": "3"}), place, exam, tmp_path)


def test_a_stage_stays_done_when_recipes_gain_keys_and_not_when_they_change() -> None:
    system = System("mine", "archetype", "Mine", {"steps": "2"})
    recipe = system.recipe().to_dict()
    del recipe["augmentation"]["tilt"]  # as if it had come since
    result = {"identity": {"recipe": recipe, "seeds": [0], "digest": "d"}}
    assert stage.is_of(result, system, "d")
    assert not stage.is_of(result, system, "another")
    assert not stage.is_of(result, System("mine", "archetype", "Mine", {"steps": "3"}), "d")
    assert not stage.is_of(result, System("mine", "archetype", "Mine", TINY, (0, 1)), "d")


def _never(*_: Any, **__: Any) -> None:
    raise AssertionError("trained again")


def test_the_story_tells_what_is_done_and_leaves_out_what_is_not(
    place: Path, exam: Exam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "first_of_each", lambda exam: np.arange(10) % len(exam.heard))
    known = [
        System("archetype", "archetype", "Small autoencoder", TINY, deck="93.7%"),
        System("gan", "gan", "Plain GAN", TINY),
    ]
    nothing = story.tell(tmp_path, known, exam, quick=False)
    assert [section.title for section in nothing.sections] == ["LeNet5, the judge"]
    result = stage.run(known[0], place, exam, tmp_path)
    told = story.tell(tmp_path, known, exam, quick=False)
    page.write(told, tmp_path)
    text = (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    assert f"**{result['scorecard']['agreement']:.1%}**" in text
    assert "| Small autoencoder | 93.7% |" in text
    assert "Plain GAN" not in text
    for link in text.split("](")[1:]:
        with Image.open(tmp_path / link.split(")")[0]) as picture:
            assert picture.format == "PNG"
    assert text.count("](") >= 6


def test_the_whole_writes_its_pages_after_each_system_and_begins_nothing_twice(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "first_of_each", lambda exam: np.arange(10) % len(exam.heard))
    monkeypatch.setattr(material, "default", lambda mix: place)
    monkeypatch.setattr(material, "facts", lambda folder: {**FACTS, "audio_synthetic": False})
    known = tuple(System(name, name, name, TINY) for name in ("archetype", "image-gan"))
    stopped = System("image-gan", "no-such-preset", "Stopped", TINY)
    monkeypatch.setattr("synesthete.reproduce.chosen", lambda quick, only="": (known[0], stopped))
    with pytest.raises(UserError, match="no-such-preset"):
        reproduce(tmp_path)
    assert "| archetype |" in (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    monkeypatch.setattr("synesthete.reproduce.chosen", lambda quick, only="": known)
    before = stage.read(known[0], tmp_path)
    assert reproduce(tmp_path) == tmp_path / "report.html"
    assert stage.read(known[0], tmp_path) == before
    assert "| image-gan |" in (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    monkeypatch.setattr(material, "facts", lambda folder: {**FACTS, "audio_synthetic": True})
    with pytest.raises(UserError, match="of FSDD, which could not be had"):
        reproduce(tmp_path)


def test_a_page_is_safe_and_stands_alone(tmp_path: Path) -> None:
    sheets.save("a", {"b": np.zeros((4, 6), np.uint8)}, tmp_path)
    picture = sheets.path("a", "b", tmp_path)
    blocks: list[str | Table | Picture] = [
        "5 < 6 & `x < y` is **so**",
        Table(("a", "b"), [("1", "<i>")]),
        Picture(picture, "P"),
    ]
    out = page.write(Story("T", "L", [Section("S", blocks)]), tmp_path)
    html = out.read_text(encoding="utf-8")
    assert "5 &lt; 6 &amp; <code>x &lt; y</code> is <strong>so</strong>" in html
    assert "&lt;i&gt;" in html
    assert "http" not in html.replace("http-equiv", "")
    assert 'src="data:image/png;base64,' in html
    markdown = (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    assert "| 1 | <i> |" in markdown
    assert "![P](figures/a-b.png)" in markdown
    with Image.open(picture) as image:
        assert image.size == (12, 8)


def test_the_committed_results_are_of_today_s_recipes_and_one_alignment() -> None:
    docs = Path(__file__).parents[1] / "docs"
    found = {s.name: (s, result) for s in SYSTEMS if (result := stage.read(s, docs)) is not None}
    stray = {path.stem for path in (docs / "stages").glob("*.json")} - {*found, "similarity"}
    assert not stray
    digests: dict[bool, set[str]] = {True: set(), False: set()}
    for system, result in found.values():
        digest = result["identity"]["digest"]
        assert stage.is_of(result, system, digest), f"{system.name}: run it again"
        digests[system.shuffled].add(digest)
    assert len(digests[False]) <= 1
    assert len(digests[True]) <= 1
