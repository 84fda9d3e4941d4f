"""Laws of `micro_batch = "auto"`: what fits is taken, and nothing is learnt by finding out."""

import pytest
import torch
from training import Points, denoise, network, outcome

from unnoise.train import Trainer, memory
from unnoise.train.run import Run


def fit(folder, micro_batch):
    said: list[str] = []
    Trainer(6, 8, lr=1e-2, micro_batch=micro_batch).fit(network(0.2), denoise, Points(), folder, say=said.append)
    return said


def test_where_all_fits_nothing_changes(tmp_path):
    assert "8 samples in memory at once" in fit(tmp_path / "auto", "auto")
    fit(tmp_path / "all", None)
    ours, theirs = (outcome(tmp_path / name, 6) for name in ("auto", "all"))
    assert ours[0] == theirs[0] and ours[2] == theirs[2]


@pytest.mark.parametrize(("share", "fits"), [(0.9, 4), (0.45, 2), (0.01, 1)])
def test_what_fits_is_taken(tmp_path, monkeypatch, share, fits):
    run = Run(Trainer(6, 8, micro_batch="auto"), network(), denoise, Points(), tmp_path, None, torch.device("cpu"))
    two, three = memory.activations(run, 2), memory.activations(run, 3)
    weights = 3 * sum(w.nbytes for w in run.learner.named.values())
    needed = (memory.AHEAD * (two + 6 * (three - two)) + weights) / memory.SPARE
    little = int((share * (needed * memory.SPARE - weights) + weights) / memory.SPARE)
    monkeypatch.setattr(memory, "free", lambda device: little)
    assert run.micro_batch == fits


def test_batches_in_parts_are_learnt_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda device: 0)
    fit(tmp_path / "auto", "auto")
    fit(tmp_path / "ones", 1)
    assert outcome(tmp_path / "auto", 6)[0] == outcome(tmp_path / "ones", 6)[0]


def test_running_out_of_memory_is_found_by_trying(tmp_path):
    def narrow(model, batch, rng):
        if len(batch["x"]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return denoise(model, batch, rng)

    model = network()
    run = Run(Trainer(6, 8, micro_batch="auto"), model, narrow, Points(), tmp_path, None, torch.device("cpu"))
    assert [memory._tried(run, rows) for rows in (8, 4, 2)] == [False, False, True]
    assert all(weight.grad is None for weight in model.parameters())


def test_running_statistics_stay(tmp_path):
    model = network(norm=True)
    run = Run(Trainer(6, 8, micro_batch="auto"), model, denoise, Points(), tmp_path, None, torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert run.micro_batch == 8
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_other_words_are_refused():
    with pytest.raises(ValueError, match="micro_batch is some; expected 1 to batch, 8, or 'auto'"):
        Trainer(6, 8, micro_batch="some")
