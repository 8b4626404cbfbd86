"""Vision towers of open_clip and transformers, in the formats that these libraries write."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from layerprobe.data.datasets import open_split
from layerprobe.distill.students import load_student
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.models.transformers_towers import tower_input
from layerprobe.models.zoo import build_model, list_models, model_input
from layerprobe.networks import find_model_layers, load_network
from layerprobe.settings.data import DataSettings
from layerprobe.settings.model import ModelSettings
from tests.helpers.commands import invoke

transformers = pytest.importorskip("transformers")
open_clip = pytest.importorskip("open_clip")

WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**WIDTH, "intermediate_size": 64, "image_size": 32, "patch_size": 8}
DINO = {**WIDTH, "image_size": 32, "patch_size": 8, "mlp_ratio": 2}
SAM = {
    **WIDTH, "image_size": 64, "patch_size": 16, "output_channels": 8, "mlp_dim": 64, "global_attn_indexes": [1],
    "window_size": 2,
}  # fmt: skip
TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}


def write(kind: str, folder: Path, **settings: Any) -> nn.Module:
    """A small model of transformers, and the folder that its own ``save_pretrained`` writes."""
    torch.manual_seed(0)
    whole = getattr(transformers, kind)
    model: nn.Module = whole(whole.config_class(**settings)).eval()
    model.save_pretrained(folder)
    return model


MODELS: list[tuple[str, dict[str, Any], str, tuple[int, ...], int, str]] = [
    ("CLIPVisionModel", VISION, "encoder.layers.1", (17, 32), 1, "post_layernorm"),
    ("SiglipVisionModel", VISION, "encoder.layers.1", (16, 32), 0, "head"),
    ("Dinov2Model", DINO, "encoder.layer.1", (17, 32), 1, "output"),
    ("Dinov2WithRegistersModel", {**DINO, "num_register_tokens": 4}, "encoder.layer.1", (21, 32), 5, "output"),
    ("DINOv3ViTModel", {**VISION, "num_register_tokens": 4}, "model.layer.1", (21, 32), 5, "output"),
]


@pytest.mark.parametrize(
    ("kind", "settings", "block", "shape", "prefix", "last"), MODELS, ids=[one[0] for one in MODELS]
)
def test_towers_are_loaded_as_transformers_loads_them(
    kind: str, settings: dict[str, Any], block: str, shape: tuple[int, ...], prefix: int, last: str, tmp_path: Path
) -> None:
    own = write(kind, tmp_path, **settings)
    name, images = f"transformers:{tmp_path}", torch.randn(2, 3, 32, 32)
    tower = build_model(name, pretrained=True).eval()
    layers = {layer.name: layer for layer in find_model_layers(name)}
    assert list(layers)[-1] == last and layers[last].kind in ("feature", "block")
    assert (layers[block].shape, layers[block].layout.prefix, layers[block].layout.height) == (shape, prefix, 4)
    assert layers[block].layout.class_token == (prefix > 0)
    with torch.no_grad(), Capture(tower, list(layers.values())) as capture:
        captured = capture(images).features
        expected = own(images, output_hidden_states=True)
    assert torch.equal(captured[last], expected.pooler_output)
    assert torch.equal(captured[block], expected.hidden_states[-1])


def test_of_a_model_of_two_towers_that_of_images_is_taken(tmp_path: Path) -> None:
    model = write("CLIPModel", tmp_path, text_config=TEXT, vision_config=VISION, projection_dim=16)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        found = build_model(f"transformers:{tmp_path}", pretrained=True).eval()(images)
        assert torch.equal(found, model.vision_model(images).pooler_output)


def test_a_masked_autoencoder_keeps_its_patches_in_order(tmp_path: Path) -> None:
    """Transformers' own, made to drop nothing, shuffles them; put back in order they are ours."""
    decoder = {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    model = write("ViTMAEForPreTraining", tmp_path, **VISION, **decoder, decoder_intermediate_size=32)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tower = build_model(f"transformers:{tmp_path}", pretrained=True).eval()
        model.vit.config.mask_ratio = 0.0
        shuffled = model.vit(images)
        first, patches = shuffled.last_hidden_state[:, :1], shuffled.last_hidden_state[:, 1:]
        order = shuffled.ids_restore[..., None].expand_as(patches)
        torch.testing.assert_close(tower(images), torch.cat([first, patches.gather(1, order)], dim=1))
    layers = find_model_layers(f"transformers:{tmp_path}")
    assert layers[-1].name == "layernorm" and layers[-1].layout.prefix == 1


def test_the_encoder_of_segment_anything_is_dense(tmp_path: Path) -> None:
    model = write("SamModel", tmp_path, vision_config=SAM)
    layers, images = find_model_layers(f"transformers:{tmp_path}"), torch.randn(1, 3, 64, 64)
    assert [(layer.name, layer.shape) for layer in layers[-2:]] == [("layers.1", (4, 4, 32)), ("neck", (8, 4, 4))]
    with torch.no_grad():
        found = build_model(f"transformers:{tmp_path}", pretrained=True).eval()(images)
        assert torch.equal(found, model.get_image_embeddings(images))


def test_a_pooler_without_weights_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    model = write("ViTForImageClassification", tmp_path, **VISION)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        found = build_model(f"transformers:{tmp_path}", pretrained=True).eval()(images)
        assert torch.equal(found, model.vit(images).last_hidden_state)
    assert f"transformers:{tmp_path}: its pooler has no weights, and is left out" in caplog.messages
    assert f"transformers:{tmp_path}: left out: classifier.bias (and 1 more)" in caplog.messages


def test_another_size_than_the_models_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    model = write("CLIPVisionModel", tmp_path, **VISION)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = build_model(f"transformers:{tmp_path}", image_size=64, pretrained=True).eval()(images)
        assert torch.equal(found, model(images, interpolate_pos_encoding=True).pooler_output)
    assert "reads images of 64 pixels, and was made for 32" in caplog.text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32},
          "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "resample": 3},
         ((32, 32), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 36, "bicubic")),
        ({"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2},
         ((32, 32), (0.5,) * 3, (0.5,) * 3, None, "bilinear")),
        ({"image_processor": {"size": {"shortest_edge": 32}, "do_normalize": False, "resample": 3}},
         ((32, 32), (0.0,) * 3, (1.0,) * 3, 32, "bicubic")),
        ({"size": {"longest_edge": 64}, "image_mean": [0.1] * 3, "image_std": [0.2] * 3},
         ((32, 32), (0.1,) * 3, (0.2,) * 3, None, "bilinear")),
    ],
)  # fmt: skip
def test_preprocessing_is_the_image_processors(
    values: dict[str, Any], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    write("CLIPVisionModel", tmp_path, **VISION)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    name = f"transformers:{tmp_path}"
    found = model_input(name, build_model(name))
    assert (found.image_size, found.mean, found.std, found.resize, found.interpolation) == expected


def test_no_code_and_no_pickles_of_a_folder_are_read(tmp_path: Path) -> None:
    model = write("Dinov2Model", tmp_path, **DINO)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(LayerprobeError, match="no weights of safetensors, and pickles are not read; write them with"):
        build_model(f"transformers:{tmp_path}", pretrained=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    auto = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "evil", "auto_map": auto}))
    with pytest.raises(LayerprobeError, match="can't be loaded: "):
        build_model(f"transformers:{tmp_path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kernel", ["kernels-community/any", "flash_attention_2"])
def test_kernels_of_the_hub_are_not_fetched(kernel: str, tmp_path: Path) -> None:
    write("CLIPVisionModel", tmp_path / "one", **VISION)
    write("CLIPModel", tmp_path / "two", text_config=TEXT, vision_config=VISION, projection_dim=16)
    for place, attention in (("one", kernel), ("two", {"": "eager", "vision_config": kernel})):
        file = tmp_path / place / "config.json"
        config = {**json.loads(file.read_text()), "attn_implementation": attention}
        file.write_text(json.dumps(config))
        for pretrained in (False, True):
            with pytest.raises(LayerprobeError, match=f"asks for the attention '{kernel}', which may be code of the"):
                build_model(f"transformers:{tmp_path / place}", pretrained=pretrained)
        file.write_text(json.dumps({**config, "attn_implementation": "eager"}))
        build_model(f"transformers:{tmp_path / place}", pretrained=True)


@pytest.mark.parametrize(
    "content",
    ["[]", "null", '{"image_processor": 3}', '{"size": "a"}', '{"image_mean": ["a"]}', '{"image_std": 3}',
     '{"size": 0}', '{"size": 1000000000}', '{"size": {"shortest_edge": 0}}', '{"image_mean": [NaN, 0, 0]}',
     '{"image_std": [0, 1, 1]}', '{"resample": 99}', '{"size": {"height": [], "width": 1}}',
     '{"size": {"height": 1e999, "width": 1}}'],
)  # fmt: skip
def test_a_malformed_configuration_of_preprocessing_is_refused(content: str, tmp_path: Path) -> None:
    model = nn.Identity()
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(LayerprobeError, match="is malformed: |describes no image processor"):
        tower_input(str(tmp_path), model)


@pytest.mark.parametrize("name", ["local-dir:/no/folder", "hf-hub:some/model"])
def test_descriptions_from_elsewhere_are_refused(name: str) -> None:
    pytest.importorskip("open_clip")
    with pytest.raises(LayerprobeError, match=f"open_clip:{name} must name an architecture of open_clip itself"):
        build_model(f"open_clip:{name}")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match=r"there is no folder '.*none' for 'transformers:.*'; save_pretrained"):
        build_model(f"transformers:{tmp_path / 'none'}")


def test_weights_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    write("Dinov2Model", tmp_path, **DINO)
    state = load_file(tmp_path / "model.safetensors")
    del state["layernorm.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(LayerprobeError, match="its weights lack layernorm.weight; get them anew"):
        build_model(f"transformers:{tmp_path}", pretrained=True)


def test_a_tower_teaches_and_learns(tmp_path: Path) -> None:
    write("CLIPVisionModel", tmp_path / "teacher", **VISION)
    name, run = f"transformers:{tmp_path / 'teacher'}", tmp_path / "run"
    few = ("--train-samples", 40, "--test-samples", 20, "--batch-size", 20, "--epochs", 1, "--device", "cpu")
    distill = ("distill", "--teacher", name, "--data", "digits", *few, "--layers", "even:2", "--output", run)
    said = invoke(*distill, "--student", name, "--student-num-classes", 0).stderr
    assert "the teacher has no classifier" in said
    plain = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION)).eval()
    plain.load_state_dict(load_file(run / "student.safetensors"))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_student(run)(images), plain(images).pooler_output)
    said = invoke(*distill, "--student", name, "--overwrite", code=2).stderr
    assert "is a tower without a classifier, and gets none; give --student-num-classes 0" in said
    said = invoke(
        *distill[:-4], "--method", "kd", "--student", "cifar:resnet20", "--output", tmp_path / "kd", code=2
    ).stderr
    assert "kd needs the logits of a teacher" in said and "has no classifier; feature-only" in said


TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, Path]:
    """A small model of open_clip, which its registry knows, and a file of its weights as the hub has them."""
    path = tmp_path / "open_clip_model.safetensors"
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", TINY)
    published = {"mine": {"file": str(path), "mean": (0.1,) * 3, "std": (0.2,) * 3, "resize_mode": "squash"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", published)
    torch.manual_seed(0)
    model: nn.Module = open_clip.create_model("tiny").eval()
    save_file(model.state_dict(), path, {"format": "pt"})
    return model, path


@pytest.mark.parametrize("tagged", [True, False])
def test_towers_of_open_clip(clip: tuple[nn.Module, Path], tagged: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    model, path = clip
    spec = (
        ModelSettings(name="open_clip:tiny.mine") if tagged else ModelSettings(name="open_clip:tiny", weights=str(path))
    )
    data = DataSettings(name="digits")
    network = load_network(spec, data, open_split(data, "train"))
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad(), Capture(network.module, network.layers) as capture:
        assert torch.equal(capture(images).features["output"], model.encode_image(images))
    assert [(layer.name, layer.shape, layer.layout.prefix) for layer in network.layers] == [
        ("transformer.resblocks.0", (17, 32), 1), ("transformer.resblocks.1", (17, 32), 1), ("output", (24,), 0),
    ]  # fmt: skip
    assert network.num_classes == 0 and network.layers[0].layout.class_token
    assert "the prefix 'visual.' is taken off their names; left out: " in caplog.text
    preprocessing = network.preprocessing
    assert (preprocessing.mean, preprocessing.resize) == (
        ((0.1,) * 3, None) if tagged else (open_clip.OPENAI_DATASET_MEAN, 32)
    )


def test_names_of_open_clip(clip: tuple[nn.Module, Path]) -> None:
    assert "ViT-B-32" in list_models("open_clip")
    assert build_model("open_clip:tiny", image_size=64)(torch.randn(1, 3, 64, 64)).shape == (1, 24)
    for name, message in (
        ("open_clip:ViT-B-23", "open_clip has no model 'ViT-B-23'; closest: "),
        ("open_clip:tiny.yours", "open_clip has no weights 'yours' of tiny; known: 'mine'"),
    ):
        with pytest.raises(LayerprobeError, match=message):
            build_model(name)
    data = DataSettings(name="digits")
    with pytest.raises(LayerprobeError, match=r"as in open_clip:tiny.mine \(tags: mine\), or give weights FILE"):
        load_network(ModelSettings(name="open_clip:tiny"), data, open_split(data, "train"))


@pytest.mark.parametrize(("library", "extra"), [("open_clip", "clip"), ("transformers", "hf")])
def test_without_the_library_one_line_says_what_installs_it(
    library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        LayerprobeError, match=rf"which can't be imported \(.*\); `pip install 'layerprobe\[{extra}\]'`"
    ):
        build_model(f"{library}:anything")
