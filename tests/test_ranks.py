"""Two ranks give what one gives: every stage of every method, 20 steps in float64, equal to 1e-6."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.multiprocessing as mp

from tests.tiny_clips import tiny_clips
from tests.tiny_trials import tiny
from trainables.clips import read_clips
from trainables.code_table import CodeTables
from trainables.collective import sum_gradients, talk_over
from trainables.hand import load_hand
from trainables.latentact import LatentAct
from trainables.stages import fit_statistics
from trainables.trial import STAGE_RUNS, part_windows
from trainables.windows import Windows

STEPS = 20
# Whatever draws noise or sums over a batch is switched on in one of these. In float64 the volume's convolutions are slow,
# so that one case alone has them.
POINTS: dict[str, Any] = {"contact_encoder": "points"}
CASES: dict[str, dict[str, Any]] = {
    "latentact": {"true_codes": 0.25, "indexer_dropout": 0.1, "vertex_weight": 0.5, **POINTS},
    "frozen-indexer": {
        "code_weight": 0.0,
        "shared_codebook": True,
        "told": "frame",
        "without": "image",
        **POINTS,
    },
    "transformer": {"method": "transformer", "mode": "interpolate"},
    "diffusion": {"method": "diffusion", **POINTS},
    "diffusion-codebook": {"method": "diffusion-codebook", "without": "image", **POINTS},
    "few-images": {"method": "transformer", **POINTS},
}


def stages_of(case: str) -> tuple[str, ...]:
    return tiny(**CASES[case]).stages


def in_float64(windows: Windows) -> Windows:
    gather = windows.gather

    def doubled(index: torch.Tensor) -> Any:
        batch = gather(index)
        for name, value in vars(batch).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                object.__setattr__(batch, name, value.double())
        return batch

    windows.gather = doubled  # type: ignore[method-assign]
    # The codebook may ask for windows with every frame given, which are a copy of these.
    every = windows.with_every_frame_given
    windows.with_every_frame_given = lambda: in_float64(plain(every()))  # type: ignore[method-assign]
    return windows


def plain(windows: Windows) -> Windows:
    for name in ("gather", "with_every_frame_given"):
        vars(windows).pop(name)
    return windows


def twenty_steps(case: str, rank: int, ranks: int, data: str, out: str) -> None:
    """Train each stage of a case for STEPS steps and leave its weights in `<out>/<case>-<stage>-<ranks>.pt`."""
    clips = read_clips(data)
    if case == "few-images":  # so few that often one rank sees some and the other none
        clips.image_F[int(clips.offsets_C1[1]) :] = -1
    config = tiny(codebook_epochs=STEPS, indexer_epochs=STEPS, epochs=STEPS, **CASES[case])
    train = part_windows(config, clips, "train")
    hand = load_hand()
    torch.manual_seed(0)
    model = LatentAct(config.model(data="tiny", data_digest="d", hand=hand.name, encoders={}), hand)
    fit_statistics(model, train)
    model, train = model.double(), in_float64(train)
    for stage in config.stages:
        run = STAGE_RUNS[stage](model, train, train, config, CodeTables(model))
        run.score = lambda module: (0.0, {})
        epochs, losses = run.run(), []
        while run.step < STEPS:
            losses.append(next(epochs)["loss"])
        if rank == 0:
            state = {**run.module.state_dict(), "losses": torch.tensor(losses, dtype=torch.float64)}
            torch.save(state, f"{out}/{case}-{stage}-{ranks}.pt")


def two_ranks(rank: int, data: str, out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{out}/rendezvous", rank=rank, world_size=2
    )
    for case in CASES:
        twenty_steps(case, rank, 2, data, out)
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[rank].grad = torch.full((2,), 1.0 + rank)
    sum_gradients(parameters)
    torch.save([p.grad for p in parameters], f"{out}/gradients-{rank}.pt")
    torch.distributed.destroy_process_group()


# Two processes that wait for each other at every sum take minutes on a busy machine.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case trained by one rank and by two."""
    out = tmp_path_factory.mktemp("ranks")
    data = str(out / "data")
    tiny_clips(Path(data), clips=16)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for case in CASES:
        twenty_steps(case, 0, 1, data, str(out))
    torch.set_num_threads(threads)
    mp.spawn(two_ranks, (data, str(out)), nprocs=2)
    return out


@pytest.mark.parametrize(("case", "stage"), [(case, stage) for case in CASES for stage in stages_of(case)])
def test_two_ranks_give_the_weights_of_one(trained: Path, case: str, stage: str) -> None:
    one, two = (torch.load(trained / f"{case}-{stage}-{n}.pt", weights_only=True) for n in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=1e-6, rtol=0, msg=name)
    assert len(one["losses"]) >= 3 and one["losses"].isfinite().all()


def test_a_gradient_that_one_rank_lacks_is_the_other_ranks(trained: Path) -> None:
    """And what no rank has a gradient for has none: the optimiser then leaves it alone, as in one process."""
    for rank in (0, 1):
        first, second, third = torch.load(trained / f"gradients-{rank}.pt", weights_only=True)
        assert first.tolist() == [1.0, 1.0] and second.tolist() == [2.0, 2.0] and third is None


def test_ranks_talk_over_the_interface_of_the_node_s_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "x")  # restored after the test
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    talk_over("192.0.2.1")  # kept for examples: no interface has it
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    talk_over("127.0.0.1")
    interface = psutil.net_if_addrs()[os.environ["GLOO_SOCKET_IFNAME"]]
    assert "127.0.0.1" in [each.address for each in interface]
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "named-by-the-user")
    talk_over("127.0.0.1")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "named-by-the-user"
