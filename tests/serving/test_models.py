"""Networks are torchvision's, exports agree with torch, and random weights are said to be."""

import hashlib
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from helpers.errors import Problem
from helpers.run import Run
from helpers.serving import models, records
from helpers.serving.records import Models
from model import export, weights
from model.networks import NETWORKS, randomise
from model.signature import INPUT, OUTPUT

# of torchvision: parameters of each network, entries of its state dict, and a few of them
PUBLISHED: dict[str, tuple[int, int, dict[str, tuple[int, ...]]]] = {
    "resnet50": (25_557_032, 320, {
        "conv1.weight": (64, 3, 7, 7),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "fc.bias": (1000,),
    }),
    "mobilenetv2": (3_504_872, 314, {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.17.conv.2.weight": (320, 960, 1, 1),
        "classifier.1.weight": (1000, 1280),
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_torchvisions(name: str) -> None:
    network = NETWORKS[name]()
    state = network.state_dict()
    parameters, entries, shapes = PUBLISHED[name]
    assert sum(tensor.numel() for tensor in network.parameters()) == parameters
    assert len(state) == entries
    for entry, shape in shapes.items():
        assert tuple(state[entry].shape) == shape


def test_random_weights_are_seeded() -> None:
    states = []
    for seed in (0, 0, 1):
        network = NETWORKS["mobilenetv2"]()
        randomise(network, seed)
        states.append(network.state_dict()["features.0.0.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_every_export_is_dynamic_recent_and_agrees_with_torch(exported: Models) -> None:
    assert exported.has_both_networks
    for facts in exported.models:
        assert facts.opset >= export.LEAST_OPSET
        assert set(facts.parity) == {1, 2, 8}
        assert max(facts.parity.values()) < 1e-5
        assert facts.top1_agreement == 1.0
        assert facts.weights == "seeded random (0)" and facts.input == "uint8"


class Channels(torch.nn.Module):
    """The mean of each channel, times a factor where there are several images."""

    factor = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * (1 if self.factor == 1 or len(x) == 1 else self.factor)


def test_images_are_normalised_in_the_file_as_torchvisions_weights_want(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export.export(Channels(), 32, path, "uint8")
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[..., 0] = 255
    (means,) = export.open_session(path).run([OUTPUT], {INPUT: red})
    # by hand: (1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225
    assert means == pytest.approx(np.array([[2.24891, -2.03571, -1.80444]] * 2), abs=1e-4)
    assert export.parity(Channels(), path, (1, 2), 0).difference[2] < 1e-6
    with pytest.raises(export.ExportError, match=r"does not take fp32 of \(batch, 3, 32, 32\)"):
        export.check(path, 32, "fp32")


def test_floats_can_be_taken_and_parity_sees_another_network_and_nan(tmp_path: Path) -> None:
    network, path = Channels(), tmp_path / "m.onnx"
    export.export(network, 32, path, "fp32")
    export.check(path, 32, "fp32")
    for network.factor, worst in ((1, 0), (1.001, 1e-3), (math.nan, math.inf)):
        differences = export.parity(network, path, (1, 2, 8), 0).difference
        assert differences[1] < 1e-6
        assert max(differences.values()) == pytest.approx(worst, abs=1e-5)


def test_a_damaged_export_in_the_cache_is_exported_again(
    exported: Models, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good = exported.models[0].onnx_file().read_bytes()
    monkeypatch.setattr(records, "ONNX_FILES", tmp_path)
    monkeypatch.setattr(export, "export", lambda network, size, path, kind: path.write_bytes(good))
    networks = {"networks": run.profile.model.networks[:1]}
    settings = {"model": run.profile.model.model_copy(update=networks)}
    single = Run(run.folder, run.profile.model_copy(update=settings))
    path = models.prepare(single).models[0].onnx_file()
    path.write_bytes(good[:-100])
    (again,) = models.prepare(single).models
    assert hashlib.sha256(again.onnx_file().read_bytes()).hexdigest() == again.sha256
    path.unlink()
    with pytest.raises(Problem, match="Run stage 03 again"):
        again.onnx_file()


def test_a_fixed_batch_or_an_old_opset_is_refused(tmp_path: Path) -> None:
    for batch, opset, fault in ((1, 20, "does not take"), ("batch", 13, "opset 13")):
        shape = [batch, 3, 64, 64]
        tensors = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name in (INPUT, OUTPUT)
        ]
        node = helper.make_node("Relu", [INPUT], [OUTPUT])
        graph = helper.make_graph([node], "g", tensors[:1], tensors[1:])
        path = tmp_path / "m.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
        with pytest.raises(export.ExportError, match=fault):
            export.check(path, 64, "fp32")
    path.write_bytes(b"not onnx")
    with pytest.raises(export.ExportError, match="not a valid ONNX file"):
        export.check(path, 64, "fp32")


def test_pretrained_weights_load_where_the_user_has_them_unless_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network = NETWORKS["mobilenetv2"]()
    randomise(network, 42)
    truth = network.state_dict()
    torch.save(truth, tmp_path / "x.pth")
    digest = hashlib.sha256((tmp_path / "x.pth").read_bytes()).hexdigest()
    # named by its digest, as torchvision publishes them
    path = (tmp_path / "x.pth").rename(tmp_path / f"mobilenet_v2-{digest[:8]}.pth")
    monkeypatch.setitem(weights.FILES, "mobilenetv2", path.name)
    monkeypatch.setenv("GPU_E2E_WEIGHTS", str(tmp_path))
    loaded = weights.build("mobilenetv2", "auto", seed=0)
    assert loaded.weights == f"pretrained ({path.name})"
    name = "classifier.1.weight"
    assert torch.equal(loaded.network.state_dict()[name], truth[name])

    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(weights.WeightsError, match="damaged"):
        weights.build("mobilenetv2", "pretrained", seed=0)
    loaded = weights.build("mobilenetv2", "auto", seed=0)
    assert loaded.weights == "seeded random (0)" and "damaged" in loaded.reason


def test_without_network_auto_falls_back_and_pretrained_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run
) -> None:
    monkeypatch.setattr(weights, "SITE", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    loaded = weights.build("mobilenetv2", "auto", seed=0)
    assert "could not be downloaded" in loaded.reason
    demanding = run.profile.model_copy(
        update={"model": run.profile.model.model_copy(update={"weights": "pretrained"})}
    )
    with pytest.raises(Problem, match=r"no pretrained weights.*model.weights=random"):
        models.prepare(Run(run.folder, demanding))
    assert list(tmp_path.rglob("*.part")) == []
