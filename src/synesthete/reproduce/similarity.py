"""Compare the retrieval model's two encoders with those of its controls, once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synesthete import artefact, family
from synesthete.data.batches import spectrograms
from synesthete.evaluate import Exam
from synesthete.family import Matcher
from synesthete.files import whole_file
from synesthete.similarity import cka_matrix, layers

PAIRS = 2_000
"""Matching test pairs that are compared."""


def compare(out: Path, exam: Exam, identity: str) -> dict[str, Any]:
    """Layer names, number of pairs, and a map for trained, shuffled and untrained encoders.

    Kept in `out/stages/similarity.json` until `identity` changes.
    """
    path = out / "stages" / "similarity.json"
    if path.exists():
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if before["identity"] == identity:
            return before
    held = {
        name: artefact.read(str(out / "runs" / f"{run}-seed0"))
        for name, run in (("matching pairs", "ave"), ("shuffled pairs", "ave-shuffled"))
    }
    one = held["matching pairs"]
    torch.manual_seed(0)
    models = {name: each.model for name, each in held.items()}
    models["untrained"] = family.from_preset(one.preset, one.shapes).eval()
    rows = np.random.default_rng(0).permutation(len(exam.wanted))[:PAIRS]
    edges = exam.alignment.edges[rows]
    audio = spectrograms(exam.alignment, one.preset.spectrogram)[edges[:, 0]]
    image = torch.from_numpy(exam.alignment.images[edges[:, 1]]).float() / 255
    found: dict[str, Any] = {"identity": identity, "pairs": len(rows), "maps": {}}
    for name, model in models.items():
        assert isinstance(model, Matcher)
        found["maps"][name] = cka_matrix(model, audio, image).tolist()
        found["audio"] = [layer for layer, _ in layers(model.audio_encoder, audio[:2])]
        found["image"] = [layer for layer, _ in layers(model.image_encoder, image[:2])]
    with whole_file(path) as draft:
        draft.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found
