"""A sweep that is to end before its time: asked for in the ledger, by a signal, or because the budget is used up."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import pytest
from test_sweep_plan import plan

pytest.importorskip("ray.tune")

from sweeps import halt as halts
from sweeps.halt import Halt
from sweeps.ledger import Ledger
from sweeps.prices import Budget
from zoo.store import open_store


def nobody() -> bool:
    return False


def enough() -> None:
    return None


@pytest.fixture
def every_look_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halts, "_ASK_EVERY_S", 0.0)


def test_nothing_ends_without_a_reason(every_look_asks: None) -> None:
    halt = Halt(nobody, enough)
    assert halt.look() == "" and not halt("trial", {"training_iteration": 1}) and not halt.stop_all()


def test_a_wish_in_the_ledger_parks_every_trial_at_its_next_report(
    every_look_asks: None, tmp_path: Path
) -> None:
    store = open_store(f"file://{tmp_path}")
    driver, other = Ledger(store, "mine", "driver"), Ledger(store, "mine")
    driver.plan(plan().record())
    halt = Halt(driver.stop_asked, enough)
    assert halt.look() == ""
    other.ask_stop()
    assert not halt("trial", {}), "a trial's report alone must not cost a request"
    assert halt.look() == "asked to stop"
    assert halt("trial", {}) and not halt.stop_all()
    driver.clear_stop()  # the next run's business
    assert halt.look() == "asked to stop"


def test_a_budget_that_is_used_up_is_the_reason(every_look_asks: None) -> None:
    seconds, budget = [0.0], Budget(gpu_hours=1.0, usd=None, usd_per_hour=None)
    halt = Halt(nobody, lambda: budget.spent(seconds[0]))
    assert halt.look() == ""
    seconds[0] = 3600.0
    assert halt.look().startswith("--budget-gpu-hours 1 is used up") and halt("trial", {})
    seconds[0] = 0.0
    assert halt.look(), "what was decided stays"


def test_the_store_is_not_asked_at_every_look() -> None:
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        return False

    halt = Halt(ask, enough)
    for _ in range(100):
        halt.look()
    assert len(asked) < 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_parks_and_a_second_ends_at_once(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    halt = Halt(nobody, enough)
    with halt.on_signals():
        os.kill(os.getpid(), number)
        assert halt.reason == f"{number.name} received" and halt("trial", {})
        assert "parking what runs" in capsys.readouterr().out
        assert halt.look() == f"{number.name} received"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_handlers_are_put_back_when_the_sweep_fails() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError), Halt(nobody, enough).on_signals():
        raise ValueError
    assert signal.getsignal(signal.SIGTERM) == before


def test_tune_can_pickle_it_though_it_holds_connections() -> None:
    halt = Halt(lambda: False, enough)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(vars(halt))
    assert pickle.dumps(halt) and halt.__getstate__() == {}
