"""What the documentation shows is run: every ```python block of a page, in order, beside runs of the names that it uses."""

import re
from pathlib import Path

import pytest
import torch

from unnoise.recipe import Recipe
from unnoise.task.train import build

DOCS = Path(__file__).parents[1] / "docs"
LITTLE = ["model.Defaults.batch=4", "model.Defaults.steps=3"]
RUNS = {
    "digits": ("digits", ["network.UNet.width=8", "network.UNet.heads=1", *LITTLE]),
    "early": ("digits", ["network.UNet.width=8", "network.UNet.heads=1", *LITTLE]),
    "plain": ("digits", ["network.UNet.width=8", "network.UNet.heads=1", "domain.Digits.conditions=[]", *LITTLE]),
    "judge": ("classifier-digits", ["network.Classifier.width=8", "network.Classifier.heads=1"]),
}
PAGES = ("first-contact.md", "guidance.md", "likelihood.md", "few-steps.md", "editing/methods.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (name, (recipe, changes)) in enumerate(RUNS.items()):
        model = build(Recipe.read(recipe, changes), seed=number)
        generator = torch.Generator().manual_seed(number)
        for parameter in model.denoiser.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        model.save(tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("runs")
def test_what_a_page_shows_in_python_runs(page: str) -> None:
    names: dict[str, object] = {}
    found = blocks(page, "python")
    assert found
    for block in found:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("runs")
def test_what_a_page_samples_on_the_command_line_runs(page: str) -> None:
    import shlex

    from typer.testing import CliRunner

    import unnoise.cli.verbs  # noqa: F401
    from unnoise.cli.app import app

    lines = [line for block in blocks(page, "") for line in block.splitlines() if line.startswith("unnoise sample")]
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        result = CliRunner().invoke(app, [*words, "-n", "1", "--threads", str(torch.get_num_threads()), "--device", "cpu"])
        assert result.exit_code == 0, (line, result.output, result.exception)


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_and_pictures_are_there(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text):
        if not target.startswith(("http://", "https://")):
            assert (DOCS / target).exists(), target
    for anchor in re.findall(r"\]\([\w-]+\.md#([\w-]+)\)", text):
        heads = {
            re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-")
            for p in DOCS.glob("*.md")
            for h in re.findall(r"^#+ (.*)$", p.read_text("utf-8"), re.MULTILINE)
        }
        assert anchor in heads, anchor


def test_words_of_ours_on_the_first_contact_page_exist() -> None:
    """Names of samplers, schedules, times, losses and rules that stand in the right columns."""
    from unnoise import guidance, loss, prediction, sampler, schedule, times

    rooms = (guidance, loss, prediction, sampler, schedule, times)
    known = {name for room in rooms for name in room.__all__} | {"Model", "Denoiser", "Moment"}
    right = [line.split("|")[2] for line in (DOCS / "first-contact.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    assert len(right) > 50
    for cell in right:
        for word in re.findall(r"\b(?:[A-Z][a-z]+[A-Z]?\w*|DDIM|CFG|EDM|DEIS|LMS|PNDM|DPM\w+|VE|VP)\b(?=\(|`)", cell):
            assert word in known or word in ("Trainer", "UNet", "Defaults", "RUN", "OTHER"), (word, cell)
        for room, word in re.findall(r"\b(sampler|schedule|times|loss|guidance|prediction)\.([A-Z]\w+)", cell):
            assert word in {name for r in rooms if r.__name__ == f"unnoise.{room}" for name in r.__all__}, (room, word)
