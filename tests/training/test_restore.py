from __future__ import annotations

import pickle
import shutil
import subprocess
from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from roma_pyg.config import (
    DataConfig,
    EncoderConfig,
    MemoryConfig,
    ModelConfig,
    OperatorConfig,
    PoolConfig,
    PositionalConfig,
    RunConfig,
    TrainingConfig,
    TrunkConfig,
)
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.roma import Roma
from roma_pyg.training.module import RomaModule
from roma_pyg.training.restore import from_dict, load, load_model, read_checkpoint


def tiny_config() -> RunConfig:
    return RunConfig(
        data=DataConfig(
            window=8,
            horizon=16,
            nodes_per_graph=6,
            positional=PositionalConfig(eigenmaps=2, walk_embedding=0, degree=True),
            memory=MemoryConfig(size=2),
        ),
        model=ModelConfig(
            features=4,
            encoder=EncoderConfig(width=8),
            pool=PoolConfig(sizes=[3], width=8),
            operator=OperatorConfig(width=8, heads=2, layers=1, num_functions=4),
            trunk=TrunkConfig(basis=2, width=8, layers=1, fourier_features=4),
        ),
        training=TrainingConfig(max_steps=2, seed=5),
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, Roma]:
    """A checkpoint as the trainer writes it, and the model it was written from."""
    config = tiny_config()
    torch.manual_seed(3)
    model = Roma(config.model, config.data)
    module = RomaModule(model, config.training, config.model.pool, config=config.to_dict())
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=2,
        max_epochs=-1,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader([make_window()] * 2, batch_size=None)
    trainer.fit(module, loader, loader)
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    trainer.save_checkpoint(path)
    return path, model.eval()


def make_window() -> SubgraphBatch:
    generator = torch.Generator().manual_seed(0)
    ring = torch.arange(6)
    return SubgraphBatch(
        window=torch.rand(6, 8, generator=generator),
        features=torch.rand(6, 3 + 2, generator=generator),
        edge_index=torch.stack([ring.roll(1), ring]),
        edge_weight=torch.ones(6),
        steps=torch.arange(1, 17),
        node_id=ring,
        num_graphs=1,
        target=torch.rand(6, 16, generator=generator),
    )


@pytest.fixture
def content(saved) -> dict:
    return torch.load(saved[0], weights_only=True)


def write(tmp_path, content) -> Path:
    path = tmp_path / "best.ckpt"
    torch.save(content, path)
    return path


def test_round_trip(saved):
    path, model = saved
    restored, config = load_model(path)
    assert config == tiny_config()
    assert not restored.training
    with torch.no_grad():
        one, two = restored(make_window()), model(make_window())
    assert torch.equal(one.levels[0].prediction, two.levels[0].prediction)
    assert read_checkpoint(path).step == 2


def test_a_run_is_its_folder_or_its_file(saved):
    path, model = saved
    for given in (path, path.parent, str(path.parent)):
        state = load(given).state_dict()
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_other_parts_of_the_module_are_left_out(saved):
    names = set(read_checkpoint(saved[0]).weights)
    assert names == set(saved[1].state_dict())
    assert not any(name.startswith("horizon_weights") for name in names)


def test_missing_options_get_defaults(tmp_path, content):
    del content["hyper_parameters"]["training"]
    assert load_model(write(tmp_path, content))[1].training == TrainingConfig()


def test_says_that_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a checkpoint at '.*best\.ckpt' \(got"):
        load(tmp_path)
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(FileNotFoundError, match="has not been validated yet"):
        load(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "bytes"])
def test_refuses_damaged_files(tmp_path, saved, damage):
    path = tmp_path / "best.ckpt"
    shutil.copy(saved[0], path)
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"model: 1", "bytes": bytes(999)}[
            damage
        ]
    )
    with pytest.raises(ValueError, match=r"'.*best\.ckpt' to be a checkpoint .* it is damaged"):
        load(path)


class Payload:
    """What an attacker would put into a checkpoint: code that runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return subprocess.check_call, (["touch", str(self.path)],)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_never_runs_code_of_a_checkpoint(tmp_path, content, writer):
    trace, path = tmp_path / "ran", tmp_path / "best.ckpt"
    content["global_step"] = Payload(trace)
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content["global_step"]))
    with pytest.raises(ValueError, match=r"holds Python objects, which are never loaded") as error:
        load(path)
    assert not trace.exists()
    assert "weights_only" not in str(error.value)  # torch's advice to switch the guard off


def test_refuses_checkpoints_of_other_programs(tmp_path, content):
    for other, missing in (
        ({"state_dict": {}}, r"\['hyper_parameters', 'global_step'\]"),
        ([1, 2], r"\['hyper_parameters', 'state_dict', 'global_step'\]"),
        (content | {"global_step": "ten"}, r"\['global_step'\]"),
    ):
        with pytest.raises(ValueError, match=rf"got one without {missing}"):
            load(write(tmp_path, other))


def test_refuses_unknown_or_impossible_options(tmp_path, content):
    options = content["hyper_parameters"]
    options["model"]["colour"] = "red"
    with pytest.raises(ValueError, match=r"this version of roma-pyg knows: .* \(got \['colour'\]"):
        load(write(tmp_path, content))
    del options["model"]["colour"]
    options["data"]["window"] = 1
    with pytest.raises(ValueError, match=r"Expected 'data.window' to be at least 2"):
        load(write(tmp_path, content))


def test_refuses_weights_of_another_size(tmp_path, content):
    content["hyper_parameters"]["model"]["trunk"]["basis"] = 3
    with pytest.raises(
        ValueError, match=r"weights that fit its configuration \(got '[a-z.]+' of shape"
    ):
        load(write(tmp_path, content))
    content["state_dict"] = {}
    with pytest.raises(
        ValueError, match=r"weights that fit its configuration \(got no 'direction'"
    ):
        load(write(tmp_path, content))


def test_from_dict_inverts_to_dict():
    config = tiny_config()
    assert from_dict(RunConfig, config.to_dict()) == config
    with pytest.raises(ValueError, match=r"Expected a dictionary of DataConfig \(got 3\)"):
        from_dict(RunConfig, {"data": 3})
