"""What predictions rest on: which samples are explained, and whether the check tells learning from chance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from headrace.batching.batches import Split, open_split
from headrace.findings.gathering import gather
from headrace.findings.pictures import read_explanation
from headrace.findings.shown import Explanation
from headrace.inference import explanations
from headrace.inference.attributions import integrate_gradients
from headrace.inference.explanations import LEVELS, MAX_SHOWN, MAX_SIDE, explain
from headrace.inference.occlusion import add_up, cut_patches, occlude
from headrace.inference.trained import TrainedRun
from headrace.models.base import ModelSpec, Shapes
from headrace.planning.artifacts import receipt_path
from headrace.provenance.digests import PICTURES, artifact_digest
from headrace.provenance.manifests import read_json, read_manifest
from headrace.provenance.verification import verify_artifact
from headrace.registry import restore
from headrace.running.jobs import Job
from headrace.running.workers import Workers
from headrace.stores.arrays import load_arrays
from sample_runs import Made, make_runs
from sample_stores import write_artifact

SEED = 3
ASKED = {"samples": 12, "steps": 32, "patches": 256, "seed": 0}
TRAINING = {"epochs": 8, "batch_size": 32, "learning_rate": 0.01, "seeds": [SEED], "device": "cpu"}
EXPERIMENT: dict[str, Any] = {
    "name": "explained",
    "datasets": {
        "tumours": {"kind": "breast_cancer"},
        "progression": {"kind": "diabetes"},
        "images": {"kind": "synthetic_images", "num_samples": 200, "height": 8, "width": 6},
        "sines": {"kind": "synthetic_sequences", "num_samples": 90, "num_features": 2, "max_length": 30},
    },
    "features": {
        "scaled": [{"kind": "standardize"}],
        "reduced": [{"kind": "standardize"}, {"kind": "truncated_svd", "rank": 4}],
        "rows": [{"kind": "window", "size": 2}],
    },
    "models": [
        {"kind": "fnn", "name": "learnt", "features": "scaled", "hidden": [16], "datasets": ["tumours"]},
        {
            "kind": "fnn",
            "name": "idle",
            "features": "scaled",
            "hidden": [16],
            "datasets": ["tumours"],
            "learning_rate": 1e-12,
        },
        {"kind": "fnn", "name": "reduced", "features": "reduced", "hidden": [8], "datasets": ["tumours"]},
        {"kind": "linear", "name": "numbers", "features": "scaled", "datasets": ["progression"]},
        {"kind": "cnn", "name": "cnn", "channels": [4], "hidden": 16, "datasets": ["images"]},
        {"kind": "rnn", "name": "rnn", "features": "rows", "hidden": 8, "datasets": ["images"]},
        {"kind": "vae", "name": "vae", "hidden": 8, "latent": 2, "likelihood": "gaussian", "datasets": ["images"]},
        {"kind": "rnn", "name": "ragged", "hidden": 4, "datasets": ["sines"]},
    ],
    "training": TRAINING,
    "evaluation": {"bootstrap": 5, "attributions": {"samples": 7, "steps": 32}},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small products are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, one_worker: Workers) -> Made:
    return make_runs(tmp_path_factory.mktemp("explained"), one_worker, EXPERIMENT)


def untrained(shapes: Shapes, seed: int = SEED, **parameters: Any) -> TrainedRun:
    """A run with the weights that it began with."""
    family = restore("models", {"kind": "fnn", "hidden": [16], **parameters}, ModelSpec)
    torch.manual_seed(seed)
    return TrainedRun(family, shapes, family.build(shapes).eval(), torch.device("cpu"), None, {})


def store(folder: Path, inputs: np.ndarray, target: np.ndarray) -> Split:
    blocks = {"inputs": inputs.astype(np.float32), "target": target}
    write_artifact(folder, {"train": {name: block[:1] for name, block in blocks.items()}, "test": blocks})
    return open_split(folder, "test")


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape)


def read_checks(said: Mapping[str, Any], name: str = "correlation") -> dict[tuple[str, str], float]:
    return {(check["method"], check["weights"]): check[name] for check in said["checks"]}


def learn(run: TrainedRun) -> None:
    """Tell which of two classes the sum of the first two inputs says."""
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(512, 20))).float()
    target = (inputs[:, 0] + inputs[:, 1] > 0).long()
    optimizer = torch.optim.Adam(run.module.parameters(), 0.02)
    for _ in range(80):
        loss = torch.nn.functional.cross_entropy(run.module.train()(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    run.module.eval()


def test_what_was_learnt_passes_the_check(tmp_path: Path) -> None:
    run = untrained(Shapes((20,), 2, "classification"))
    learn(run)
    inputs = draw(200, 20)
    split = store(tmp_path, inputs, (inputs[:, 0] + inputs[:, 1] > 0).astype(np.int64))
    pictures, said = explain(run, split, ASKED, SEED)
    assert set(read_checks(said)) == {
        (method, weights) for method in said["methods"] for weights in ("start", "random")
    }
    assert max(read_checks(said).values()) < 0.5
    assert said["agreement"] > 0.9
    assert 0 <= said["completeness_error"] < 0.02
    assert set(np.argsort(pictures["explained_mean"][0])[-2:]) == {0, 1}
    assert set(np.argsort(pictures["explained_mean"][1])[-2:]) == {0, 1}


def test_weights_that_never_moved_are_found_out(tmp_path: Path) -> None:
    """They are those of the start: a correlation of exactly 1, whatever the maps look like."""
    inputs = draw(60, 20)
    split = store(tmp_path, inputs, np.arange(60) % 3)
    _, said = explain(untrained(Shapes((20,), 3, "classification")), split, ASKED, SEED)
    for name in ("correlation", "correlation_of_sizes"):
        found = read_checks(said, name)
        assert {found[method, "start"] for method in said["methods"]} == {1.0}
        assert max(found[method, "random"] for method in said["methods"]) < 0.5


def test_numbers_are_those_of_scipy_over_the_samples(tmp_path: Path) -> None:
    """Every correlation once more from the parts, for a network of images."""
    shapes = Shapes((7, 5), 3, "classification")
    run, inputs = untrained(shapes, seed=11), draw(40, 7, 5)
    asked = {**ASKED, "samples": 6, "patches": 12}
    pictures, said = explain(run, store(tmp_path, inputs, np.arange(40) % 3), asked, SEED)
    rows = pictures["explained_row"]
    batch = torch.from_numpy(inputs[rows].astype(np.float32))
    chosen = run.module(batch).argmax(dim=1, keepdim=True)
    assert pictures["explained_output"].tolist() == chosen[:, 0].tolist()
    assert pictures["explained_target"].tolist() == (rows % 3).tolist()
    patches = cut_patches((7, 5), is_sequence=False, most=12)
    assert said["patches"] == {"kind": "windows", "number": len(patches.places), "size": 4, "stride": 2}
    ours, theirs = (
        {
            "integrated_gradients": integrate_gradients(module, batch, torch.zeros_like(batch), 32, chosen)[0],
            "occlusion": occlude(module, batch, torch.zeros_like(batch), patches, chosen),
        }
        for module in (run.module, untrained(shapes).module)
    )
    for method in said["methods"]:
        pairs = [
            (one.numpy().ravel(), two.numpy().ravel()) for one, two in zip(ours[method], theirs[method], strict=True)
        ]
        signed = np.mean([spearmanr(*pair).statistic for pair in pairs])
        sizes = np.mean([spearmanr(*map(np.abs, pair)).statistic for pair in pairs])
        assert read_checks(said)[method, "start"] == pytest.approx(signed, abs=1e-9)
        assert read_checks(said, "correlation_of_sizes")[method, "start"] == pytest.approx(sizes, abs=1e-9)
    sums = add_up(ours["integrated_gradients"], patches).numpy()
    agreement = np.mean([spearmanr(*pair).statistic for pair in zip(sums, ours["occlusion"].numpy(), strict=True)])
    assert said["agreement"] == pytest.approx(agreement, abs=1e-9)


def test_black_pixels_have_no_share_with_any_weights_and_the_sizes_tell(tmp_path: Path) -> None:
    """The signs differ, and where the maps are dark does not: it is where the sample is."""
    inputs = np.where(draw(30, 60) > 1, draw(30, 60), 0)
    learnt = untrained(Shapes((60,), 2, "classification"), seed=5)
    _, said = explain(learnt, store(tmp_path, inputs, np.arange(30) % 2), ASKED, SEED)
    assert max(read_checks(said).values()) < 0.5
    assert min(read_checks(said, "correlation_of_sizes").values()) > 0.7


def test_a_network_that_reads_nothing_has_no_numbers(tmp_path: Path) -> None:
    run = untrained(Shapes((6,), 2, "classification"))
    for weight in run.module.parameters():
        torch.nn.init.zeros_(weight)
    pictures, said = explain(run, store(tmp_path, draw(20, 6), np.arange(20) % 2), ASKED, SEED)
    assert {*read_checks(said).values(), said["agreement"], said["completeness_error"]} == {None}
    assert (pictures["explained_share"] == 0).all()
    json.dumps(said, allow_nan=False)


def test_broken_weights_leave_null_and_pictures_of_nothing(tmp_path: Path) -> None:
    run = untrained(Shapes((6, 6), 2, "classification"))
    torch.nn.init.constant_(next(run.module.parameters()), torch.nan)
    pictures, said = explain(run, store(tmp_path, draw(20, 6, 6), np.arange(20) % 2), ASKED, SEED)
    assert {*read_checks(said).values(), said["agreement"], said["completeness_error"]} == {None}
    assert (pictures["explained_map"] == 0).all()
    json.dumps(said, allow_nan=False)


def test_the_same_seed_gives_the_same_bits_and_no_generator_moves(tmp_path: Path) -> None:
    run, split = (
        untrained(Shapes((8, 8), 3, "classification"), seed=4),
        store(tmp_path, draw(40, 8, 8), np.arange(40) % 3),
    )
    before = torch.get_rng_state()
    first, said = explain(run, split, ASKED, SEED)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(77)
    again, said_again = explain(run, split, ASKED, SEED)
    assert said == said_again
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    _, other = explain(run, split, {**ASKED, "seed": 1}, SEED)
    changed = {key for key, value in read_checks(other).items() if value != read_checks(said)[key]}
    assert {weights for _, weights in changed} == {"random"}


def test_what_is_kept_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    run, split = untrained(Shapes((5,), 3, "classification")), store(tmp_path, draw(200, 5), np.arange(200) % 3)
    pictures, said = explain(run, split, {**ASKED, "samples": 150}, SEED)
    assert said["samples"] == 150
    assert {len(pictures[f"explained_{name}"]) for name in ("row", "target", "output", "share")} == {MAX_SHOWN}
    assert pictures["explained_mean"].shape == (2, 5)
    few, _ = explain(run, split, {**ASKED, "samples": 5}, SEED)
    assert len(few["explained_row"]) == 5
    np.testing.assert_allclose(few["explained_mean"], np.abs(few["explained_share"]).mean(axis=0), rtol=1e-6)


def test_large_images_are_explained_in_parts_and_kept_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the cuts, the numbers are the same."""
    shapes, inputs = Shapes((200, 90, 3), 2, "classification"), draw(9, 200, 90, 3)
    run, split = untrained(shapes, hidden=[4]), store(tmp_path, inputs, np.arange(9) % 2)
    given_at_once: list[int] = []
    run.module.register_forward_pre_hook(lambda _, inputs: given_at_once.append(inputs[0].numel()))
    asked = {**ASKED, "samples": 9, "steps": 4, "patches": 20}
    pictures, said = explain(run, split, asked, SEED)
    assert max(given_at_once) <= explanations.MAX_NUMBERS
    assert pictures["explained_sample"].shape == (9, MAX_SIDE, 28, 3)
    assert pictures["explained_map"].shape == (9, 2, MAX_SIDE, 28)
    assert sum(values.nbytes for values in pictures.values()) < 100_000
    monkeypatch.setattr(explanations, "MAX_NUMBERS", 2 * shapes.num_inputs)
    given_at_once.clear()
    again, said_again = explain(run, split, asked, SEED)
    assert max(given_at_once) < explanations.MAX_NUMBERS * 20
    for one, other in zip(said["checks"], said_again["checks"], strict=True):
        assert other["correlation"] == pytest.approx(one["correlation"], abs=1e-3)
    assert np.abs(pictures["explained_map"].astype(int) - again["explained_map"]).max() <= 2


def test_a_picture_is_the_mean_of_what_it_stands_for_and_says_its_scale(tmp_path: Path) -> None:
    inputs = np.arange(2 * 128 * 64, dtype=np.float64).reshape(2, 128, 64)
    family = restore("models", {"kind": "linear"}, ModelSpec)
    torch.manual_seed(0)
    shapes = Shapes((128, 64), 2, "classification")
    run = TrainedRun(family, shapes, family.build(shapes).eval(), torch.device("cpu"), None, {})
    pictures, _ = explain(run, store(tmp_path, inputs, np.arange(2)), {**ASKED, "samples": 2}, SEED)
    weight = run.module[1].weight.detach().double().numpy()[pictures["explained_output"]]
    shares = (weight.reshape(2, 128, 64) * inputs).reshape(2, 64, 2, 32, 2).mean(axis=(2, 4))
    reach = np.quantile(np.abs(shares), 0.99, axis=(1, 2))
    np.testing.assert_allclose(pictures["explained_reach"][:, 0], reach, rtol=1e-3)
    levels = (shares / reach[:, None, None]).clip(-1, 1) * LEVELS
    assert np.abs(pictures["explained_map"][:, 0] - levels).max() < 1
    grey = inputs.reshape(2, 64, 2, 32, 2).mean(axis=(2, 4))
    grey = (grey - grey.min()) / (grey.max() - grey.min()) * 255
    assert np.abs(pictures["explained_sample"] - grey).max() <= 0.51


def test_sequences_are_explained_by_steps_and_by_features(tmp_path: Path) -> None:
    shapes = Shapes((6, 3), 2, "classification", is_sequence=True)
    run = untrained(shapes)
    pictures, said = explain(run, store(tmp_path, draw(20, 6, 3), np.arange(20) % 2), {**ASKED, "patches": 4}, SEED)
    assert said["patches"] == {"kind": "spans", "number": 4, "size": 2, "stride": 2}
    assert pictures["explained_edge"].tolist() == [0, 1, 3, 4, 6]
    assert pictures["explained_share"].shape == (12, 2, 4)
    batch = torch.from_numpy(draw(20, 6, 3)[pictures["explained_row"]].astype(np.float32))
    shares, _ = integrate_gradients(run.module, batch, torch.zeros_like(batch), 32)
    np.testing.assert_allclose(pictures["explained_feature_mean"], shares.abs().sum(dim=1).mean(dim=0), rtol=1e-5)
    np.testing.assert_allclose(pictures["explained_share"][:, 0, 1], shares[:, 1:3].sum(dim=(1, 2)), atol=1e-5)


def explanation_of(made: Made, model: str) -> Explanation:
    found = read_explanation(made.evaluation(model), ())
    assert found is not None
    return found


@pytest.mark.parametrize("model", ["learnt", "reduced", "numbers", "cnn", "rnn"])
def test_every_family_is_explained_where_that_means_something(made: Made, model: str) -> None:
    found = explanation_of(made, model)
    assert found.num_samples == len(found.rows) == 7
    assert found.completeness_error < 0.05
    assert found.agreement > 0.3
    assert len(found.checks) == 4
    assert (found.maps is None) == (model != "cnn")
    assert (found.feature_means is None) == (model != "rnn")
    assert list(verify_artifact(made.evaluation(model))) == []


def test_the_check_tells_learning_from_idling_in_whole_runs(made: Made) -> None:
    found = {model: explanation_of(made, model) for model in ("learnt", "idle")}
    worst = {model: max(check.correlation for check in each.checks) for model, each in found.items()}
    assert worst["learnt"] < 0.5
    assert worst["idle"] > 0.999


def test_shares_of_a_number_are_in_its_units_and_of_a_linear_model_both_methods_agree(made: Made) -> None:
    found, folder = explanation_of(made, "numbers"), made.evaluation("numbers")
    assert found.shares is not None
    assert found.agreement == pytest.approx(1)
    predicted = load_arrays(folder / "predictions.safetensors")["prediction"][found.rows, 0]
    np.testing.assert_allclose(found.outputs, predicted, rtol=1e-5)
    summary = read_json(made.folder("numbers") / "summary.json")
    weights = load_arrays(made.folder("numbers") / "weights.safetensors")
    (bias,) = (values for values in weights.values() if values.ndim == 1)
    origin = bias[0] * summary["target_deviation"][0] + summary["target_mean"][0]
    for method in range(2):
        np.testing.assert_allclose(found.shares[:, method].sum(axis=1) + origin, predicted, rtol=1e-4)


def test_what_cannot_be_explained_is_left_out_and_the_report_is_told_why(made: Made) -> None:
    for model in ("vae", "ragged"):
        assert not (made.evaluation(model) / "attributions.json").exists()
    report = next(job for job in made.plan.jobs if job.stage == "report")
    results = gather(Job(receipt_path(made.root, "report", report.id)))
    runs = {run.model: run for run in results.runs}
    assert {model: run.unexplained for model, run in runs.items() if run.unexplained} == {
        "vae": "was trained for density",
        "ragged": "reads ragged inputs",
    }
    assert {model for model, run in runs.items() if run.explanation is None} == {"vae", "ragged"}
    names = runs["learnt"].explanation.names
    assert (names[0], len(names)) == ("mean radius", 30)
    assert runs["reduced"].explanation.names == ()


def test_pictures_are_verified_and_no_part_of_a_digest_and_numbers_are(made: Made) -> None:
    manifest = read_manifest(made.evaluation("cnn"))
    assert manifest is not None
    parts = manifest["outputs"]
    assert f"{PICTURES}/explained_map" in parts
    assert "attributions.json" in parts
    assert manifest["digest"] == artifact_digest(
        {part: d for part, d in parts.items() if not part.startswith(PICTURES)}
    )
    assert manifest["digest"] != artifact_digest({part: d for part, d in parts.items() if part != "attributions.json"})
