"""Laws of `train/`: a run goes on to the bits of one that was never stopped, and only as it began."""

import os
import signal
import threading

import pytest
import torch
from torch import nn
from training import STORY, At, Points, denoise, network, outcome, send, silent

from unnoise.train import State, Trainer, claim, load, write_weights


@pytest.mark.parametrize("step", [1, 7, 12, 19])
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, straight, step, number, raised):
    data, said = Points(), []
    with pytest.raises(raised) as error:
        model = network(0.2, norm=True)
        Trainer(20, 8, **STORY).fit(model, denoise, data, tmp_path, hooks=[At(step, send(number))], say=said.append)
    assert raised is KeyboardInterrupt or error.value.code == 143
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, data, tmp_path, say=said.append)
    assert said[0].startswith("new run") and said[1].startswith(f"resumes at {step} of 20")
    assert outcome(tmp_path, 20) == outcome(straight[0], 20)
    assert data.asked == straight[1]


def test_a_crash_goes_on_from_the_last_save_to_the_same_bits(tmp_path, straight):
    def crash(state: State) -> None:
        state.log(lost=True)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, Points(), tmp_path, hooks=[At(11, crash)], say=silent)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 3, "lo')  # a row cut short
    (tmp_path / "state" / "step-12.tmp-77").mkdir()
    Trainer(20, 8, **STORY).fit(network(0.2, norm=True), denoise, Points(), tmp_path, say=silent)
    assert outcome(tmp_path, 20) == outcome(straight[0], 20)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step-18", "step-20"]


def test_a_finished_run_can_be_lengthened(tmp_path):
    said: list[str] = []
    for steps in (6, 10, 10):
        Trainer(steps, 4).fit(network(), denoise, Points(), tmp_path / "a", say=said.append)
    Trainer(10, 4).fit(network(), denoise, Points(), tmp_path / "b", say=silent)
    assert "resumes at 6 of 10" in said[1] and "train.Trainer.steps was 6, is now 10" in said[2]
    assert "resumes at 10 of 10" in said[3]
    a, b = (load(tmp_path / run / "state" / "step-10").tensors for run in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a if name != "sums")


def test_changed_options_are_refused_by_name(tmp_path):
    def fit(lr=1e-3, width=4, items=20, **options):
        recipe = {"network.MLP.width": width, "sampler.DDIM.eta": options.get("eta", 0)}
        data = Points(items)
        Trainer(4, 4, lr=lr).fit(
            network(), denoise, data, tmp_path, options=recipe, safe=["sampler"], say=options.get("say", silent)
        )

    fit()
    with pytest.raises(ValueError, match=r"train\.Trainer\.lr was 0\.001, is now 0\.01") as error:
        fit(lr=1e-2, width=8)
    assert "network.MLP.width was 4, is now 8" in str(error.value)
    with pytest.raises(ValueError, match=r"dataset\.items was 20, is now 19"):
        fit(items=19)
    said: list[str] = []
    fit(eta=1, say=said.append)
    assert "sampler.DDIM.eta was 0, is now 1" in said


def test_a_new_run_may_begin_with_other_weights(tmp_path):
    donor = network()
    donor[0].weight.data += 1
    write_weights(tmp_path / "donor" / "weights.safetensors", donor.state_dict())
    trainer = Trainer(1, 4, lr=1e-12)
    averaged = trainer.fit(network(), denoise, Points(), tmp_path / "a", init=tmp_path / "donor", say=silent)
    assert torch.allclose(averaged[0].weight, donor[0].weight)
    with pytest.raises(ValueError, match=r"does not fit this model: .*'4.weight' has shape \(4, 16\), expected \(5, 16\)"):
        wider = nn.Sequential(*network()[:4], nn.Linear(16, 5))
        trainer.fit(wider, denoise, Points(), tmp_path / "b", init=tmp_path / "donor", say=silent)


# -- one run, one folder


def test_a_second_run_in_a_folder_is_refused(tmp_path):
    (tmp_path / ".lock").write_text("999999\n")  # left by a process that is dead
    with claim(tmp_path), pytest.raises(ValueError, match=f"process {os.getpid()} trains in this folder"):
        Trainer(5, 4).fit(network(), denoise, Points(), tmp_path, say=silent)
    Trainer(5, 4).fit(network(), denoise, Points(), tmp_path, say=silent)


def test_of_many_racing_runs_one_wins(tmp_path):
    barrier, done, won = threading.Barrier(20), threading.Barrier(20), []

    def race() -> None:
        barrier.wait()
        try:
            with claim(tmp_path):
                won.append(1)
                done.wait()
        except ValueError:
            done.wait()

    threads = [threading.Thread(target=race) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
