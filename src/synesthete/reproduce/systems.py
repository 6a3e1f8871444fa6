"""The systems that the deck names: which preset, how long, how often, and what the deck says."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from synesthete import config
from synesthete.errors import UserError

ALPHAS = ("0.05", "0.1", "0.2", "0.5", "1", "5")
"""The sweep of the reconstruction weight, two decades."""

READING = {"steps": "1_000"}
"""How long each reading of the VAE's loss is trained."""

SWEEP = {"steps": "600"}
"""How long each run of the sweep is, and what is compared with it."""

Overrides = Mapping[str, str]


@dataclass(frozen=True)
class System:
    """One row of the reproduction."""

    name: str
    """Of its stage, its run folders and its pictures."""
    preset: str
    title: str
    overrides: Overrides = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    quick: Overrides | None = None
    """What is overridden on top in a quick run; None: left out of it."""
    deck: str = ""
    """The deck's figure, where it has one."""
    note: str = ""
    """What deviates from the deck, and why."""
    shuffled: bool = False
    """Train and test on shuffled pairs: the control."""

    def recipe(self) -> config.Preset:
        """The preset with the overrides."""
        return config.from_table(config.read(self.preset), self.overrides)

    def command(self, seed: int) -> str:
        """What a user types to train it; DIR is of `synesthete pairs mix --shuffled --out DIR`."""
        words = [f"--{key} {value}" for key, value in self.overrides.items()]
        words += ["--pairs DIR"] * self.shuffled + [f"--seed {seed}"]
        return " ".join([f"synesthete train {self.preset}", *words])


THREE = (0, 1, 2)

SYSTEMS = (
    System("image-autoencoder", "image-autoencoder", "Autoencoder of images",
           quick={"steps": "200"}),
    System("image-vae", "image-vae", "VAE of images", quick={"steps": "200"}),
    System("image-gan", "image-gan", "Unconditional GAN", quick={"steps": "200"}),
    System("archetype", "archetype", "Autoencoder, small and normalised, grouped targets",
           seeds=THREE, quick={}, note="ours: not in the deck"),
    System("autoencoder", "autoencoder", "Autoencoder, the VAE's layers, grouped targets",
           quick={"steps": "200"}),
    System("vae-grouped", "deck-vae-grouped", "VAE, grouped targets",
           quick={"steps": "300"}, deck="93.7%",
           note="2,000 steps of 64 recordings against their mean image, augmented"),
    System("vae-pairs", "deck-vae", "VAE, pairs", {"steps": "4_000"}, quick={"steps": "200"},
           deck="93.7%", note="4,000 of the deck's 46,875 steps"),
    System("vae-pairs-torch", "deck-vae", "VAE, pairs, PyTorch's initialisation",
           {"steps": "1_000", "initialisation": "torch"}, deck="93.7%",
           note="1,000 of the deck's 46,875 steps"),
    System("vae-plain", "deck-vae-grouped", "VAE, grouped, as the readings below", READING),
    System("vae-relu", "deck-vae-grouped", "VAE, ReLU on both heads",
           {"relu_heads": "true", **READING}),
    System("vae-gaussian", "deck-vae-grouped", "VAE, squared error",
           {"reconstruction": "gaussian", **READING}),
    System("vae-mean", "deck-vae-grouped", "VAE, cross-entropy averaged over pixels",
           {"reduction": "mean", **READING}),
    System("vae-gaussian-mean", "deck-vae-grouped", "VAE, squared error averaged over pixels",
           {"reconstruction": "gaussian", "reduction": "mean", **READING}),
    System("gan", "gan", "Plain GAN, -log D", quick={"steps": "150"},
           deck="does not correspond", note="1,500 of the deck's 46,875 steps"),
    System("gan-saturating", "gan", "Plain GAN, log(1 - D)", {"saturating": "true", **SWEEP},
           deck="does not correspond", note="600 steps"),
    System("vae-gan", "vae-gan", "VAE-GAN, α = 0.2", quick={"steps": "250"}, deck="79%",
           note="1,500 of the deck's 46,875 steps; instance noise"),
    *(
        System(f"vae-gan-alpha-{alpha}", "vae-gan", f"VAE-GAN, α = {alpha}",
               {"alpha": alpha, **SWEEP})
        for alpha in ALPHAS
    ),
    System("vae-gan-naive", "vae-gan", "VAE-GAN, α = 0.2, a recording an image",
           {"images_per_recording": "1", **SWEEP},
           note="the plain loop: compare with α = 0.2 of the sweep"),
    System("vae-gan-images", "vae-gan", "VAE-GAN, α = 0.2, each drawing compared",
           {"compare": "images", **SWEEP}),
    System("vae-gan-bernoulli", "vae-gan", "VAE-GAN, α = 0.2, cross-entropy",
           {"reconstruction": "bernoulli", **SWEEP}),
    System("avc", "avc", "Audio-visual correspondence", seeds=THREE, quick={"steps": "300"}),
    System("avc-shuffled", "avc", "The same on shuffled pairs", quick={"steps": "300"},
           shuffled=True),
    System("ave", "ave", "Cross-modal retrieval", seeds=THREE, quick={"steps": "300"}),
    System("ave-shuffled", "ave", "The same on shuffled pairs", quick={"steps": "300"},
           shuffled=True),
)  # fmt: skip
"""In the order of the deck's slides."""


def chosen(quick: bool, only: str = "") -> tuple[System, ...]:
    """The systems of a full or a quick run: all, or those that `only` names.

    `only` is names with commas between; what is no name takes all that begin so.

    Raises:
        UserError: there is none.
    """
    found = SYSTEMS
    if quick:
        found = tuple(
            replace(s, overrides={**s.overrides, **s.quick}, seeds=s.seeds[:1], note="")
            for s in SYSTEMS
            if s.quick is not None
        )
    kept: list[System] = []
    for word in only.split(","):
        named = [system for system in found if system.name == word]
        named = named or [system for system in found if system.name.startswith(word)]
        if not named:
            known = ", ".join(system.name for system in found)
            raise UserError(f"no system '{word}'; there are: {known}")
        kept += named
    return tuple(kept)
