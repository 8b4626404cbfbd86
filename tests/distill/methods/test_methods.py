"""Every baseline against its publication's formula, in float64 NumPy with loops, and gradient checks."""

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from layerprobe.distill.batches import FeatureBatch, IndexedBatch, LogitBatch
from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.distill.losses.feature_loss import load_feature_loss
from layerprobe.distill.methods.attention_transfer import attention_map
from layerprobe.distill.methods.catalogue import PAPER, PUBLICATION
from layerprobe.distill.methods.crd import ContrastiveDistillation, OtherClasses
from layerprobe.distill.methods.dkd import other_classes_kl, target_class_kl
from layerprobe.distill.methods.kd_std import standardized
from layerprobe.distill.methods.reviewkd import hierarchical_loss
from layerprobe.distill.methods.rkd import angle_potentials, distance_potentials
from layerprobe.distill.methods.simkd import BottleneckProjector, MatchedEnding, reuse_classifier
from layerprobe.distill.methods.sp import similarity_preserving
from layerprobe.distill.objectives import LogitObjective
from layerprobe.distill.pairing import Pairing, full_pairing
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture, Captured
from layerprobe.models.zoo import build_model
from layerprobe.records import Layer, Layout, Shape
from layerprobe.records.layout import GRID
from tests.helpers.objectives import objective_of

PAIRING = Pairing(
    (Layer(0, "a", "block", (2, 4, 6), 0), Layer(1, "b", "block", (3, 2, 3), 0)),
    (Layer(0, "x", "block", (5, 3, 3), 0), Layer(1, "y", "block", (9, 4), 0)),
)

CROSSED = full_pairing(PAIRING.student, PAIRING.teacher)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(images: int = 5, classes: int = 4) -> LogitBatch:
    student = {"a": normal(images, 2, 4, 6, seed=1), "b": normal(images, 3, 2, 3, seed=2)}
    teacher = {"x": normal(images, 5, 3, 3, seed=3), "y": normal(images, 9, 4, seed=4)}
    labels = torch.arange(images) % classes
    ours, theirs = (
        Captured(normal(images, classes, seed=5), student),
        Captured(normal(images, classes, seed=6), teacher),
    )
    return LogitBatch(ours, theirs, labels)


def parts(images: int = 5, classes: int = 4) -> tuple[Captured, Captured, Tensor]:
    made = batch(images, classes)
    assert made.teacher is not None
    return made.student, made.teacher, made.labels


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum())


@pytest.mark.parametrize("shape", [(2, 3), (5, 1, 7, 2), (3, 4, 9)])
def test_huber_and_cosine(shape: tuple[int, ...]) -> None:
    a, b = 2 * normal(*shape), normal(*shape, seed=1)
    d = np.abs(a.numpy() - b.numpy())
    expected = np.where(d < 1, d**2 / 2, d - 0.5).mean()
    assert float(load_feature_loss("huber")(a, b)) == pytest.approx(expected, rel=1e-12)
    x, y = np.moveaxis(a.numpy(), 1, -1), np.moveaxis(b.numpy(), 1, -1)
    cosines = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
    assert float(load_feature_loss("cosine")(a, b)) == pytest.approx((1 - cosines).mean(), rel=1e-9)
    for loss in map(load_feature_loss, FEATURE_LOSSES):
        assert float(loss(a, a)) == pytest.approx(0, abs=1e-12)
        assert gradcheck(loss, (a.clone().requires_grad_(), b))
        with pytest.raises(ValueError, match="student features"):
            loss(a, b[:1])


@pytest.mark.parametrize(("setting", "t", "weight", "share"), [(PUBLICATION, 2, 36, 0.1), (PAPER, 4, 16, 1)])
def test_standardized_distillation(setting: str, t: float, weight: float, share: float) -> None:
    objective = objective_of("kd-std", setting=setting)
    student, teacher, labels = parts()
    z = [
        (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
        for x in (student.logits.numpy(), teacher.logits.numpy())
    ]
    expected = weight * np.mean([kl(softmax(theirs / t), softmax(ours / t)) for ours, theirs in zip(*z, strict=True)])
    terms = objective(LogitBatch(student, teacher, labels))
    assert float(terms["kl"]) == pytest.approx(expected, rel=1e-5)
    rows = student.logits.numpy()
    entropy = -np.mean([np.log(softmax(row)[label]) for row, label in zip(rows, labels, strict=True)])
    assert float(terms["cross_entropy"]) == pytest.approx(share * entropy, rel=1e-9)
    scaled = Captured(3 * teacher.logits + 7, {})
    assert float(objective(LogitBatch(scaled, teacher, labels))["kl"]) == pytest.approx(0, abs=1e-9)
    assert gradcheck(standardized, student.logits.requires_grad_())


def test_decoupled_distillation() -> None:
    student, teacher, labels = parts(6, 5)
    targets, others = [], []
    for s, t, c in zip(student.logits.numpy() / 4, teacher.logits.numpy() / 4, labels.tolist(), strict=True):
        p, q = softmax(t), softmax(s)
        targets.append(kl(np.array([p[c], 1 - p[c]]), np.array([q[c], 1 - q[c]])))
        others.append(kl(np.delete(p, c) / (1 - p[c]), np.delete(q, c) / (1 - q[c])))
    terms = objective_of("dkd")(LogitBatch(student, teacher, labels))
    assert float(terms["target_kl"]) == pytest.approx(16 * np.mean(targets), rel=1e-9)
    assert float(terms["others_kl"]) == pytest.approx(16 * 8 * np.mean(others), rel=1e-9)
    # Equation 6: KL of all classes = TCKD + (1 - p_t) NCKD.
    whole = [
        kl(softmax(t / 4), softmax(s / 4)) for s, t in zip(student.logits.numpy(), teacher.logits.numpy(), strict=True)
    ]
    share = [1 - softmax(t / 4)[c] for t, c in zip(teacher.logits.numpy(), labels.tolist(), strict=True)]
    assert np.mean(whole) == pytest.approx(np.mean(targets) + np.mean(np.array(share) * others), rel=1e-9)
    for loss in (target_class_kl, other_classes_kl):
        logits = student.logits.detach().requires_grad_()
        assert gradcheck(lambda x, loss=loss: loss(x, teacher.logits, labels, 4.0), logits)


@pytest.mark.parametrize("images", [2, 5])
def test_similarity_preserving(images: int) -> None:
    student, teacher, labels = parts(images)

    def rows(features: np.ndarray) -> np.ndarray:
        flat = features.reshape(len(features), -1)
        g = flat @ flat.T
        return g / np.linalg.norm(g, axis=1, keepdims=True)

    pairs = [("a", "x"), ("b", "y")]
    expected = sum(
        np.linalg.norm(rows(teacher.features[t].numpy()) - rows(student.features[s].numpy())) ** 2 / images**2
        for s, t in pairs
    )
    terms = objective_of("sp", PAIRING)(LogitBatch(student, teacher, labels))
    assert float(terms["similarity"]) == pytest.approx(3000 * expected, rel=1e-9)
    features = student.features["a"]
    assert float(similarity_preserving(features, 3 * features)) == pytest.approx(0, abs=1e-12)
    other = teacher.features["x"]
    assert gradcheck(lambda x: similarity_preserving(x, other), features.clone().requires_grad_())


@pytest.mark.parametrize("images", [2, 5])
def test_relational_distillation(images: int) -> None:
    pairing = Pairing((Layer(0, "s", "feature", (6,), 0),), (Layer(0, "t", "feature", (9,), 0),))
    ours, theirs = normal(images, 6), normal(images, 9, seed=1)

    def potentials(f: np.ndarray) -> tuple[list[float], list[float]]:
        pairs = [np.linalg.norm(f[i] - f[j]) for i in range(images) for j in range(images) if i != j]
        angles = []
        for j in range(images):
            for i in range(images):
                for k in range(images):
                    e, g = f[j] - f[i], f[j] - f[k]
                    lengths = np.linalg.norm(e) * np.linalg.norm(g)
                    angles.append(float(e @ g / lengths) if lengths else 0.0)
        return list(np.array(pairs) / np.mean(pairs)), angles

    def huber(x: list[float], y: list[float]) -> float:
        d = np.abs(np.array(x) - np.array(y))
        return float(np.where(d < 1, d**2 / 2, d - 0.5).mean())

    s, t = potentials(ours.numpy()), potentials(theirs.numpy())
    student, teacher = Captured(normal(images, 4), {"s": ours}), Captured(normal(images, 4, seed=2), {"t": theirs})
    labels = torch.zeros(images, dtype=torch.int64)
    terms = objective_of("rkd", pairing)(LogitBatch(student, teacher, labels))
    assert float(terms["distances"]) == pytest.approx(25 * huber(s[0], t[0]), rel=1e-6, abs=1e-12)
    assert float(terms["angles"]) == pytest.approx(50 * huber(s[1], t[1]), rel=1e-6, abs=1e-12)
    rotation = torch.linalg.qr(normal(6, 6, seed=3))[0]
    moved = 2 * ours @ rotation + 1
    assert torch.allclose(distance_potentials(moved), distance_potentials(ours))
    assert torch.allclose(angle_potentials(moved), angle_potentials(ours))
    far = (ours + 1000).float()
    assert torch.allclose(distance_potentials(far).double(), distance_potentials(far.double()), rtol=1e-6)
    assert (distance_potentials(torch.ones(images, 6)) == 0).all()
    assert gradcheck(distance_potentials, ours.clone().requires_grad_())
    apart = ~torch.eye(images, dtype=torch.bool)
    weights = normal(images, images, images, seed=4) * apart[:, :, None] * apart[:, None, :]
    assert gradcheck(lambda x: (angle_potentials(x) * weights).sum(), ours.clone().requires_grad_(), atol=1e-4)


def test_attention_transfer() -> None:
    student, teacher, labels = parts()
    terms = objective_of("attention-transfer", PAIRING)(LogitBatch(student, teacher, labels))

    def unit_maps(features: np.ndarray) -> np.ndarray:
        maps = (features**2).sum(axis=1).reshape(len(features), -1)
        return maps / np.linalg.norm(maps, axis=1, keepdims=True)

    a = torch.nn.functional.adaptive_avg_pool2d(student.features["a"], (3, 3)).numpy()
    first = ((unit_maps(a) - unit_maps(teacher.features["x"].numpy())) ** 2).mean()
    grid = teacher.features["y"].transpose(1, 2).reshape(-1, 4, 3, 3)
    tokens = torch.nn.functional.adaptive_avg_pool2d(grid, (2, 3)).numpy()
    second = ((unit_maps(student.features["b"].numpy()) - unit_maps(tokens)) ** 2).mean()
    assert float(terms["attention"]) == pytest.approx(1000 * (first + second), rel=1e-9)
    assert gradcheck(attention_map, normal(2, 3, 4).requires_grad_())


def test_a_pair_that_meets_in_one_position_is_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    objective_of("attention-transfer", PAIRING)
    assert not caplog.records
    pairing = Pairing(PAIRING.student, (PAIRING.teacher[0], Layer(1, "fc.input", "feature", (7,), 0)))
    objective_of("attention-transfer", pairing)
    assert "b and fc.input meet in one: that pair teaches nothing" in caplog.text and len(caplog.records) == 1


def test_full_fitnets_pairs_every_layer_with_every_layer() -> None:
    assert CROSSED.names == (("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"))
    student, teacher, labels = parts()
    objective = objective_of("fitnets-full", CROSSED).double()
    losses = []
    for projector, (ours, theirs) in zip(objective.hints.projectors, CROSSED.names, strict=True):
        pair = projector(student.features[ours], teacher.features[theirs])
        losses.append(float(((pair.student - pair.teacher) ** 2).mean().detach()))
    terms = objective(LogitBatch(student, teacher, labels))
    assert float(terms["features"].detach()) == pytest.approx(np.mean(losses), rel=1e-12)


def test_semantic_calibration() -> None:
    torch.manual_seed(0)
    objective = objective_of("semckd", CROSSED, batch_size=6).double().eval()
    student, teacher, labels = parts(5)
    similarities = {}
    for name, features in {**student.features, **teacher.features}.items():
        flat = features.flatten(1).numpy()
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        similarities[name] = np.pad(flat @ flat.T, ((0, 0), (0, 1)))

    def embed(perceptron: torch.nn.Module, rows: np.ndarray) -> np.ndarray:
        (w, b), (v, c) = ((x.weight.detach().numpy(), x.bias.detach().numpy()) for x in (perceptron[0], perceptron[2]))
        return np.maximum(rows @ w.T + b, 0) @ v.T + c

    expected = 0.0
    for image in range(5):
        for row, s in enumerate("ab"):
            query = embed(objective.hints.attention.queries[row], similarities[s])[image]
            keys = [
                embed(objective.hints.attention.keys[number], similarities[t])[image] for number, t in enumerate("xy")
            ]
            attention = softmax(np.array([query @ key for key in keys]))
            for column, t in enumerate("xy"):
                pair = objective.hints.projectors[2 * row + column](student.features[s], teacher.features[t])
                error = ((pair.student - pair.teacher)[image].detach().numpy() ** 2).mean()
                expected += 400 * attention[column] * error / 5 / 2  # 5 images, 2 student layers
    terms = objective(LogitBatch(student, teacher, labels))
    assert float(terms["features"].detach()) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="a batch of 7 images, at most 6"):
        objective(batch(7))
    features, second = student.features["a"].clone().requires_grad_(), student.features["b"]
    targets = [teacher.features[one.name] for one in CROSSED.teacher]
    check = lambda x: objective.feature_terms(FeatureBatch([x, x, second, second], targets))["features"]  # noqa: E731
    assert gradcheck(check, features)


def test_hierarchical_loss() -> None:
    for height, width, sides in ((5, 7, (4, 2, 1)), (4, 6, (2, 1)), (2, 2, (1,)), (1, 1, ())):
        a, b = normal(2, 3, height, width), normal(2, 3, height, width, seed=1)
        total, weights = float(((a - b) ** 2).mean()), 1.0
        for number, side in enumerate(sides):
            pooled = torch.nn.functional.adaptive_avg_pool2d(a - b, side)
            total += 0.5 ** (number + 1) * float((pooled**2).mean())
            weights += 0.5 ** (number + 1)
        assert float(hierarchical_loss(a, b)) == pytest.approx(total / weights, rel=1e-12)
        assert float(hierarchical_loss(a, a)) == 0
        assert gradcheck(hierarchical_loss, (a.clone().requires_grad_(), b))


MAPS = Pairing(
    (Layer(0, "a", "block", (2, 4, 6), 0), Layer(1, "b", "block", (3, 2, 3), 0)),
    (Layer(0, "x", "block", (5, 3, 3), 0), Layer(1, "y", "block", (4, 2, 2), 0)),
)


def test_knowledge_review_goes_from_deep_to_shallow() -> None:
    torch.manual_seed(0)
    objective = objective_of("reviewkd", MAPS).double().eval()
    a, b, x, y = normal(5, 2, 4, 6), normal(5, 3, 2, 3, seed=1), normal(5, 5, 3, 3, seed=2), normal(5, 4, 2, 2, seed=3)
    deep, shallow = objective.fusions[1], objective.fusions[0]
    assert deep.attention is None and shallow.attention is not None
    resize = torch.nn.functional.interpolate
    handed = resize(deep.enter(b), (2, 2))
    expected = hierarchical_loss(deep.leave(handed), y)
    entered, upsampled = shallow.enter(a), resize(handed, (4, 6))
    weights = shallow.attention(torch.cat([entered, upsampled], dim=1))
    fused = entered * weights[:, :1] + upsampled * weights[:, 1:]
    expected = expected + hierarchical_loss(shallow.leave(resize(fused, (3, 3))), x)
    student = Captured(normal(5, 4, seed=4), {"a": a, "b": b})
    teacher = Captured(normal(5, 4, seed=5), {"x": x, "y": y})
    terms = objective(LogitBatch(student, teacher, torch.arange(5) % 4))
    assert set(terms) == {"cross_entropy", "review"}
    assert float(terms["review"].detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    for shape in ((7, 4), (4,)):
        pairing = Pairing(MAPS.student[:1], (Layer(0, "y", "block", shape, 0),))
        with pytest.raises(
            LayerprobeError, match=rf"reviewkd fuses maps, but 'y' of shape {re.escape(str(shape))} is none"
        ):
            objective_of("reviewkd", pairing)


def test_knowledge_review_takes_the_patches_of_transformers_as_maps() -> None:
    """Resized by nearest neighbours, axis by axis, with the extra tokens left out."""
    torch.manual_seed(0)
    layout = Layout(GRID, 2, 4, prefix=1, class_token=True, channels_last=True)
    grids = Pairing(
        (Layer(0, "a", "block", Shape((9, 6), layout), 0), Layer(1, "b", "block", Shape((9, 6), layout), 0)),
        MAPS.teacher,
    )
    maps = Pairing((Layer(0, "a", "block", (6, 2, 4), 0), Layer(1, "b", "block", (6, 2, 4), 0)), MAPS.teacher)
    objective = objective_of("reviewkd", grids).double().eval()
    same = objective_of("reviewkd", maps).double().eval()
    same.load_state_dict(objective.state_dict())
    tokens = {name: normal(5, 9, 6, seed=seed) for seed, name in enumerate("ab")}
    turned = {name: np.ascontiguousarray(one.numpy()[:, 1:].transpose(0, 2, 1)) for name, one in tokens.items()}
    as_maps = {name: torch.from_numpy(one.reshape(5, 6, 2, 4)) for name, one in turned.items()}
    teacher = Captured(normal(5, 4, seed=5), {"x": normal(5, 5, 3, 3, seed=2), "y": normal(5, 4, 2, 2, seed=3)})
    found = [
        float(one(LogitBatch(Captured(normal(5, 4), given), teacher, torch.arange(5) % 4))["review"].detach())
        for one, given in ((objective, tokens), (same, as_maps))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-12) and found[0] > 0
    # The resizing against loops: position i of n takes floor(i * rows / n).
    cells = normal(1, 1, 2, 4).numpy()[0, 0]
    resized = torch.nn.functional.interpolate(torch.from_numpy(cells)[None, None], (5, 3), mode="nearest")[0, 0]
    assert np.array_equal(resized, [[cells[i * 2 // 5, j * 4 // 3] for j in range(3)] for i in range(5)])


def contrast(pairing: Pairing, labels: Tensor) -> ContrastiveDistillation:
    torch.manual_seed(0)
    objective = objective_of("crd", pairing, negatives=7, width=4)
    objective.prepare(labels)
    return objective.double()


PENULTIMATE = Pairing((Layer(0, "s", "feature", (6,), 0),), (Layer(0, "t", "feature", (9,), 0),))


def test_contrastive_distillation(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = torch.arange(30) % 3
    objective = contrast(PENULTIMATE, everything)
    positions = torch.tensor([4, 11, 29, 0, 1])
    labels = everything[positions]
    drawn = objective.others.draw(labels, 7)
    monkeypatch.setattr(objective.others, "draw", lambda labels, count: drawn)
    ours, theirs = normal(5, 6), normal(5, 9, seed=1)
    student, teacher = Captured(normal(5, 3, seed=2), {"s": ours}), Captured(normal(5, 3, seed=3), {"t": theirs})

    def embedded(linear: torch.nn.Linear, features: Tensor) -> np.ndarray:
        found = features.numpy() @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    anchors = embedded(objective.embed_student, ours), embedded(objective.embed_teacher, theirs)
    banks = objective.teacher_bank.embeddings.numpy().copy(), objective.student_bank.embeddings.numpy().copy()
    expected, m, k = 0.0, 30, 7
    for side, bank in zip(anchors, banks, strict=True):
        e = np.array(
            [[math.exp(side[i] @ bank[j] / 0.07) for j in (int(positions[i]), *drawn[i].tolist())] for i in range(5)]
        )
        e = e / (e.mean() * m)
        h = e / (e + k / m)
        expected -= (np.log(h[:, 0]) + np.log(1 - h[:, 1:]).sum(axis=1)).mean()
    terms = objective(IndexedBatch(student, teacher, labels, positions))
    assert float(terms["contrast"].detach()) == pytest.approx(0.8 * expected, rel=1e-6)
    moved = 0.5 * banks[1][positions] + 0.5 * anchors[0]
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    assert np.allclose(objective.student_bank.embeddings[positions], moved)
    untouched = [row for row in range(30) if row not in positions.tolist()]
    assert np.array_equal(objective.student_bank.embeddings[untouched], banks[1][untouched])
    objective.eval()
    now = lambda x: IndexedBatch(Captured(student.logits, {"s": x}), teacher, labels, positions)  # noqa: E731
    loss = lambda x: objective(now(x))["contrast"]  # noqa: E731
    assert gradcheck(loss, ours.clone().requires_grad_())


def test_contrast_is_learned() -> None:
    everything = torch.arange(12) % 3
    objective = contrast(PENULTIMATE, everything)
    ours, theirs = normal(12, 6).requires_grad_(), normal(12, 9, seed=1)
    optimizer = torch.optim.Adam([ours, *objective.parameters()], lr=0.02)
    student, teacher = Captured(normal(12, 3, seed=2), {"s": ours}), Captured(normal(12, 3, seed=3), {"t": theirs})
    losses = []
    for _ in range(20):
        loss = objective(IndexedBatch(student, teacher, everything, torch.arange(12)))["contrast"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[1]


def test_negatives_are_as_many_as_was_said_of_any_number_of_images() -> None:
    objective = objective_of("crd", PENULTIMATE, negatives=50)
    objective.prepare(torch.arange(12) % 3)
    assert objective.negatives == 50
    student, teacher = (
        Captured(normal(2, 3).float(), {name: normal(2, width).float()}) for name, width in (("s", 6), ("t", 9))
    )
    two = torch.tensor([0, 1])
    assert objective(IndexedBatch(student, teacher, two, two))["contrast"].isfinite()


def test_negatives_are_of_other_classes_and_every_one_is_drawn() -> None:
    labels = torch.tensor([2, 0, 0, 1, 2, 2, 0, 1, 2])
    others = OtherClasses(labels)
    drawn = others.draw(torch.tensor([0, 1, 2]), 400)
    for label, row in enumerate(drawn):
        assert sorted(set(row.tolist())) == [place for place in range(9) if labels[place] != label]
    with pytest.raises(ValueError, match="all images are of one class"):
        OtherClasses(torch.zeros(4, dtype=torch.int64))


OBJECTIVES = [
    objective_of("kd"), objective_of("kd-std"), objective_of("dkd"),
    objective_of("fitnets", Pairing(PAIRING.student[:1], PAIRING.teacher[:1])),
    objective_of("fitnets", PAIRING, setting=PAPER), objective_of("fitnets-full", CROSSED),
    objective_of("sp", PAIRING), objective_of("attention-transfer", PAIRING), objective_of("rkd", PAIRING),
    objective_of("semckd", CROSSED, 8),
]  # fmt: skip


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_twenty_steps_lower_the_loss(objective: LogitObjective) -> None:
    student, teacher, labels = parts(8)
    features = {name: value.float().requires_grad_() for name, value in student.features.items()}
    ours = Captured(student.logits.detach().float().requires_grad_(), features)
    theirs = Captured(teacher.logits.float(), {name: value.float() for name, value in teacher.features.items()})
    optimizer = torch.optim.Adam([ours.logits, *features.values(), *objective.parameters()], lr=0.01)
    losses = []
    for _ in range(20):
        loss = torch.stack(list(objective(LogitBatch(ours, theirs, labels)).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] and all(map(math.isfinite, losses))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_a_missing_teacher_is_a_programming_error(objective: LogitObjective) -> None:
    student, _, labels = parts()
    with pytest.raises(ValueError, match="needs a teacher"):
        objective(LogitBatch(student, None, labels))


def batch_norm(x: np.ndarray) -> np.ndarray:
    mean, variance = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    reach = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    out = np.zeros((len(x), len(weight), *x.shape[2:]))
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            window = padded[:, :, i : i + weight.shape[2], j : j + weight.shape[3]]
            out[:, :, i, j] = np.einsum("ncij,ocij->no", window, weight)
    return out


@pytest.mark.parametrize("signed", [False, True])
def test_the_projector_of_the_reused_classifier(signed: bool) -> None:
    project = BottleneckProjector(3, 5, signed).double()
    x = normal(4, 3, 5, 2)
    expected = x.numpy()
    for number in (0, 3, 6):
        weight = project.layers[number].weight.detach().numpy()
        expected = batch_norm(convolved(expected, weight))
        if number < 6 or not signed:
            expected = np.maximum(expected, 0)
    assert project.layers[3].weight.shape == (2, 2, 3, 3)  # half of the teacher's 5 channels
    np.testing.assert_allclose(project(x).detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    assert (project(x) < 0).any() == signed
    assert project(normal(6, 3)).shape == (6, 5)


def test_reused_classifier() -> None:
    pairing = Pairing((Layer(0, "a", "block", (5, 4, 6), 0),), (Layer(0, "x", "block", (5, 2, 3), 0),))
    ours, theirs = normal(3, 5, 4, 6), normal(3, 5, 2, 3, seed=1)
    pooled = np.zeros(theirs.shape)
    for i in range(2):
        for j in range(3):
            pooled[:, :, i, j] = ours.numpy()[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(2, 3))
    objective = MatchedEnding(pairing)
    expected = ((pooled - theirs.numpy()) ** 2).mean()
    assert float(objective(FeatureBatch([ours], [theirs]))["features"]) == pytest.approx(expected, rel=1e-12)
    assert gradcheck(lambda x: objective(FeatureBatch([x], [theirs]))["features"], ours.clone().requires_grad_())
    # A student without a map gives a vector, and learns from the mean of the teacher's map.
    vector = MatchedEnding(Pairing((Layer(0, "a", "feature", (5,), 0),), pairing.teacher))
    expected = ((ours.numpy()[:, :, 0, 0] - theirs.numpy().mean(axis=(2, 3))) ** 2).mean()
    assert float(vector(FeatureBatch([ours[:, :, 0, 0]], [theirs]))["features"]) == pytest.approx(expected, rel=1e-12)


def test_a_student_gets_its_teachers_classifier_behind_a_projector() -> None:
    student, teacher = (build_model(f"cifar:{name}", num_classes=7, seed=1) for name in ("resnet20", "resnet34"))
    ending, pairing = reuse_classifier(student, teacher, (32, 32), seed=0)
    assert pairing.names == (("layer3.projector", "layer4"),)
    assert pairing.student[0].shape == (512, 8, 8) and pairing.teacher[0].shape == (512, 4, 4)
    assert torch.equal(student.linear.weight, teacher.fc.weight)
    assert student.linear.weight is not teacher.fc.weight and ending.head == "linear"
    images = torch.randn(2, 3, 32, 32)
    with Capture(student.eval(), ["layer3.projector"]) as capture:
        captured = capture(images)
    mean = captured.features["layer3.projector"].mean(dim=(2, 3))
    torch.testing.assert_close(captured.logits, mean @ teacher.fc.weight.T + teacher.fc.bias)


def test_a_classifier_that_is_not_linear_is_not_reused() -> None:
    student, teacher = (
        build_model("cifar:resnet20", num_classes=10),
        build_model("torchvision:squeezenet1_1", num_classes=10),
    )
    with pytest.raises(LayerprobeError, match="but of the teacher the logits don't come straight from one linear"):
        reuse_classifier(student, teacher, (64, 64), seed=0)
