"""docs/cluster.md: what it tells people to run is what torchrun, bash and Kubernetes understand."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from synesthete import cli, config
from synesthete.config import TrainingConfig

PAGE = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def manifests() -> list[dict[str, Any]]:
    return [found for block in blocks("yaml") for found in yaml.safe_load_all(block)]


def commands() -> list[list[str]]:
    """Each torchrun command of the page, as words; SLURM's variables stand for 2."""
    found = []
    for block in blocks("bash"):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            if "torchrun" in line:
                line = re.sub(r"\$(SLURM_\w+|head)", "2", line)
                found.append(shlex.split(line.removeprefix("srun ")))
    (job,) = (each for each in manifests() if each["kind"] == "Job")
    return [*found, job["spec"]["template"]["spec"]["containers"][0]["command"]]


@pytest.mark.parametrize("words", commands(), ids=["host", "hosts", "slurm", "kubernetes"])
def test_a_command_starts_a_run_whose_readers_the_processes_can_share(words: list[str]) -> None:
    assert words[0] == "torchrun"
    theirs = get_args_parser().parse_args(words[1:])
    assert theirs.module
    assert theirs.training_script == "synesthete.cli"
    ours, rest = cli.parser().parse_known_args(theirs.training_script_args)
    assert ours.resume
    preset = config.from_table(config.read(ours.preset), cli.training.overrides(rest))
    world = int(theirs.nnodes.split(":")[-1]) * int(theirs.nproc_per_node)
    assert world > 1
    assert preset.training.readers % world == 0
    assert theirs.standalone or (theirs.rdzv_backend == "c10d" and theirs.rdzv_endpoint)


def test_the_scripts_are_bash() -> None:
    assert len(blocks("bash")) == 3
    for block in blocks("bash"):
        checked = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr


def test_the_job_s_pods_find_each_other() -> None:
    service, job = manifests()
    spec = job["spec"]
    pod = spec["template"]["spec"]
    name = job["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"  # YAML's null is spelt otherwise
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    theirs = get_args_parser().parse_args(pod["containers"][0]["command"][1:])
    assert theirs.rdzv_endpoint.startswith(f"{name}-0.{pod['subdomain']}:")
    assert spec["completions"] == spec["parallelism"] == int(theirs.nnodes)
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == int(
        theirs.nproc_per_node
    )


def test_the_default_is_the_page_s() -> None:
    assert f"(default {TrainingConfig(1).readers})" in PAGE
