from __future__ import annotations

import shutil
import warnings

import pytest
import torch

from roma_pyg.models import compiled
from roma_pyg.models.compiled import Compiled


def broken(function):
    def fail(*_):
        raise RuntimeError("No working C++ compiler found\nand more")

    return fail


def test_without_a_compiler_it_goes_on(monkeypatch):
    monkeypatch.setattr(compiled.torch, "compile", broken)
    function = Compiled(lambda x: 2 * x)
    with pytest.warns(UserWarning, match=r"failed \(No working C\+\+ compiler found\); going on"):
        assert function(torch.tensor(3.0)).item() == 6
    assert not function.works
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(torch.tensor(4.0)).item() == 8


def test_errors_of_the_function_are_its_own(monkeypatch):
    monkeypatch.setattr(compiled.torch, "compile", lambda function: function)
    function = Compiled(lambda x: x @ torch.zeros(5, 5))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        function(torch.zeros(2, 2))
    assert function.works


def test_model_uses_it_in_training_only(tiny, monkeypatch):
    calls = []

    def counted(function):
        return lambda *arguments: (calls.append(1), function(*arguments))[1]

    monkeypatch.setattr(compiled.torch, "compile", counted)
    model, batch = tiny.model(), tiny.batch()
    keys = set(model.state_dict())
    expected = model(batch).levels[0].prediction
    model.compile_operator()
    assert torch.equal(model(batch).levels[0].prediction, expected)
    assert not calls
    assert torch.equal(model.train()(batch).levels[0].prediction, expected)
    assert len(calls) == 1
    assert set(model.state_dict()) == keys


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # what dynamo says while it looks at tensors
def test_compiled_operator_has_the_same_gradients(tiny):
    model, batch = tiny.model().train(), tiny.batch()
    gradients = []
    for _ in range(2):
        model.zero_grad()
        prediction = model(batch).levels[0].prediction
        prediction.square().sum().backward()
        gradients.append([p.grad.clone() for p in model.operator.parameters()])
        model.compile_operator()
    assert model._compiled_operator.works
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
