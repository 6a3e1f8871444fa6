"""Score what a model is to be compared with: real images, means, neighbours, shuffled pairs."""

import numpy as np

from synesthete.data.batches import spectrograms
from synesthete.evaluate import DIGITS, Answer, Exam, Images, distances, plain, score
from synesthete.generate import Model
from synesthete.progress import bar, busy


def baselines(model: Model, exam: Exam, seed: int = 0) -> dict[str, Answer]:
    """What a model is to be compared with, scored alike.

    Real test images (where distances are concerned, the unseen train images in their place); the
    class's mean train image; a real train image met by the nearest train recording in the
    model's latent space; the real test images shuffled.
    """
    rng = np.random.default_rng((seed, 1))
    real = exam.real_images
    with busy("scoring real images"):
        ceiling = score(exam, real, seed=seed)
    floors = dict.fromkeys(("fld", "kid", "precision", "recall", "density", "coverage"))
    if exam.floor is not None:
        floors |= distances(exam.floor, exam, rng)
    ceiling.scorecard.update({k: plain(v) for k, v in floors.items()})
    means = np.stack([
        exam.train_images[exam.train_classes == c].mean(0) if (exam.train_classes == c).any()
        else np.zeros(real.shape[1:]) for c in range(len(DIGITS))
    ]).round().astype(np.uint8)  # fmt: skip
    answers = {"real test images": ceiling}
    others = {
        "class-mean image": means[exam.wanted],
        "nearest neighbour": _neighbours(model, exam, rng),
        "shuffled pairs": rng.permutation(real),
    }
    with bar("scoring the baselines", len(others)) as progress:
        for name, images in others.items():
            answers[name] = score(exam, images, seed=seed)
            progress.advance()
    for name, answer in answers.items():
        answer.scorecard["model"] = name
    return answers


def _neighbours(model: Model, exam: Exam, rng: np.random.Generator) -> Images:
    """For each pair, an image that the nearest train recording is seen with."""
    config = model.artefact.preset.spectrogram
    ours = model.embed_spectrogram(spectrograms(exam.alignment, config))
    theirs = model.embed_spectrogram(spectrograms(exam.train, config))
    distance = (theirs**2).sum(1) - 2 * ours @ theirs.T
    edges = exam.train.edges[np.argsort(exam.train.edges[:, 0], kind="stable")]
    degree = np.bincount(edges[:, 0], minlength=len(theirs))
    distance[:, degree == 0] = np.inf
    nearest = distance.argmin(1)[exam.recordings]
    first = np.searchsorted(edges[:, 0], nearest)
    images: Images = exam.train_images[edges[first + rng.integers(degree[nearest]), 1]]
    return images
