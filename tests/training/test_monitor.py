from __future__ import annotations

from types import SimpleNamespace

import pytest

from roma_pyg.training import monitor
from roma_pyg.training.monitor import ResourceMonitor


class Logs:
    """Stands for the module: keeps what is logged."""

    def __init__(self):
        self.device = SimpleNamespace(type="cpu")
        self.entries = []

    def log_dict(self, entries, **_):
        self.entries.append(entries)


def test_throughput_counts_waiting_but_not_validation(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(monitor.time, "perf_counter", lambda: clock.now)
    trainer, module = SimpleNamespace(global_step=0, log_every_n_steps=4), Logs()
    batch = SimpleNamespace(num_core=100)
    callback = ResourceMonitor()
    callback.on_train_start(trainer, module)
    for step in range(1, 9):
        callback.on_train_batch_start(trainer, module, batch, 0)
        clock.now += 1.0  # the step
        trainer.global_step = step
        callback.on_train_batch_end(trainer, module, None, batch, 0)
        if step == 2:
            callback.on_validation_start(trainer, module)
            clock.now += 50.0
        else:
            clock.now += 0.5  # the wait for the next batch
    first, second = module.entries
    # Four steps of 1 with waits of .5 after the first and third; the second is validation.
    assert first["speed/steps_per_second"] == pytest.approx(4 / 5)
    assert first["speed/nodes_per_second"] == pytest.approx(400 / 5)
    assert second["speed/steps_per_second"] == pytest.approx(4 / 6)
    assert second["memory/process_mib"] > 10
