"""Generated data: what is promised of them holds, and any process draws the same."""

import hashlib
import pickle
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import linalg, sparse, stats
from scipy.sparse.linalg import svds
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from headrace.blocks import Block, Ragged
from headrace.datasets.base import INPUTS, TARGET, DatasetSpec, Source
from headrace.formats import generators
from headrace.registry import load_kind
from headrace.sources.gathering import gather

SMALL: dict[str, dict[str, Any]] = {
    "synthetic_classification": {"num_samples": 1001, "num_features": 7, "num_classes": 3},
    "synthetic_images": {"num_samples": 503, "height": 12, "width": 9, "channels": 3, "num_classes": 4},
    "synthetic_sequences": {"num_samples": 301, "num_features": 2, "min_length": 5, "max_length": 40},
    "synthetic_sparse_topics": {"num_samples": 707, "num_terms": 200, "num_topics": 6, "words_per_sample": 30},
    "synthetic_graph": {"num_nodes": 902, "num_classes": 3, "degree": 6.0, "num_features": 4},
}
KINDS = sorted(SMALL)


def make_spec(kind: str, **more: Any) -> Any:
    return load_kind("datasets", kind).model_validate({"kind": kind, **SMALL[kind], **more})


def open_kind(kind: str, **more: Any) -> Any:
    return make_spec(kind, **more).open(Path())


def everything(source: Source) -> dict[str, Block]:
    return gather(source, np.arange(source.num_rows), list(source.variables))


def digest(block: Block) -> str:
    if isinstance(block, Ragged):
        pieces = [block.values, block.lengths]
    elif isinstance(block, np.ndarray):
        pieces = [block]
    else:
        pieces = [block.data, block.indices.astype(np.int64), block.indptr.astype(np.int64)]
    return hashlib.sha256(b"".join(np.ascontiguousarray(piece).tobytes() for piece in pieces)).hexdigest()


def digest_parts(source: Source, backwards: bool = False) -> list[str]:
    parts = list(range(len(source.borders) - 1))
    found = {}
    for part in reversed(parts) if backwards else parts:
        blocks = source.read(part, list(source.variables))
        found |= {(part, name): digest(blocks[name]) for name in sorted(blocks)}
    return [found[key] for key in sorted(found)]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a few hundred rows lie in many of them."""
    monkeypatch.setattr(generators, "PART_BYTES", 2000)
    monkeypatch.setattr(generators, "BLOCK_BYTES", 500)


# What all of them keep


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("small_parts")
def test_rows_are_what_was_described(kind: str) -> None:
    spec = make_spec(kind)
    info, source = spec.describe(), spec.open(Path())
    assert len(source.borders) > 5
    assert source.num_rows == info.num_samples
    inputs = source.variables[INPUTS]
    assert (inputs.dims, inputs.shape, inputs.dtype, inputs.layout) == (info.dims, info.shape, info.dtype, info.layout)
    blocks = everything(source)
    assert np.bincount(blocks[TARGET], minlength=len(info.class_names)).tolist() == list(info.class_counts)
    assert np.array_equal(source.column(TARGET), blocks[TARGET])
    assert blocks[TARGET].dtype == np.int64
    if info.layout == "ragged":
        assert np.array_equal(source.lengths(INPUTS), blocks[INPUTS].lengths)
        assert (len(blocks[INPUTS].values), max(blocks[INPUTS].lengths)) == (info.num_values, info.longest)
    if info.layout == "sparse":
        assert blocks[INPUTS].nnz == pytest.approx(info.num_values, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("small_parts")
def test_parts_do_not_depend_on_what_was_read_before(kind: str) -> None:
    source = open_kind(kind)
    forwards = digest_parts(source)
    assert digest_parts(pickle.loads(pickle.dumps(source)), backwards=True) == forwards
    assert len(set(forwards)) > len(forwards) // 3
    for name in source.variables:
        alone, together = source.read(1, [name])[name], source.read(1, list(source.variables))[name]
        assert digest(alone) == digest(together)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("small_parts")
def test_another_seed_gives_other_samples(kind: str) -> None:
    one, two = everything(open_kind(kind)), everything(open_kind(kind, seed=1))
    assert digest(one[INPUTS]) != digest(two[INPUTS])


def test_two_processes_draw_the_same_bits() -> None:
    larger: dict[str, dict[str, Any]] = {
        "synthetic_classification": {"num_samples": 1_200_000},
        "synthetic_images": {"num_samples": 120_000},
        "synthetic_sequences": {"num_samples": 200_000},
        "synthetic_sparse_topics": {"num_samples": 250_000},
        "synthetic_graph": {"num_nodes": 450_000},
    }
    sources = [open_kind(kind, **more) for kind, more in larger.items()]
    assert all(len(source.borders) > 2 for source in sources)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        one, two = (pool.submit(digest_all, sources[:: 1 - 2 * turned], turned) for turned in (False, True))
        assert one.result() == two.result()[::-1]


def digest_all(sources: list[Source], backwards: bool) -> list[list[str]]:
    return [digest_parts(source, backwards) for source in sources]


@pytest.mark.parametrize("kind", KINDS)
def test_any_scale_is_described_at_once_and_drawn_in_pieces(kind: str) -> None:
    sizes = {name: 20_000_000 for name in SMALL[kind] if name in ("num_samples", "num_nodes")}
    start = time.perf_counter()
    source = open_kind(kind, **sizes)
    assert len(pickle.dumps(source)) < 100_000
    names = [name for name in source.variables if name != "adjacency"]
    last = source.read(len(source.borders) - 2, names)
    assert sum(1 for _ in last) == len(names)
    assert time.perf_counter() - start < 5
    decoded = source.read(0, names)
    assert sum(decoded[name].nbytes for name in names if isinstance(decoded[name], np.ndarray)) < 18 * 2**20


@pytest.mark.parametrize("kind", KINDS)
def test_describing_needs_no_numpy(kind: str) -> None:
    code = f"""
import sys
from headrace.registry import load_kind
load_kind("datasets", "{kind}").model_validate({{"kind": "{kind}"}}).describe()
assert not {{"numpy", "scipy"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_in_the_documentation_works(kind: str) -> None:
    import yaml

    text = " ".join((load_kind("datasets", kind).__doc__ or "").split())
    example = yaml.safe_load(text.split("for example `")[1].split("`")[0])
    spec = load_kind("datasets", kind).model_validate(example)
    assert isinstance(spec, DatasetSpec)
    assert sum(spec.describe().class_counts) == spec.describe().num_samples


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("synthetic_classification", {"num_samples": 2}),
        ("synthetic_classification", {"num_classes": 1}),
        ("synthetic_classification", {"separation": 0.0}),
        ("synthetic_images", {"height": 2}),
        ("synthetic_images", {"noise": -0.1}),
        ("synthetic_sequences", {"min_length": 41}),
        ("synthetic_sequences", {"seed": -1}),
        ("synthetic_sparse_topics", {"num_terms": 5}),
        ("synthetic_sparse_topics", {"dominance": 1.0}),
        ("synthetic_graph", {"num_nodes": 5}),
        ("synthetic_graph", {"degree": 300.0}),
        ("synthetic_graph", {"homophily": 1.1}),
    ],
)
def test_what_cannot_be_is_refused(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        make_spec(kind, **wrong)


# Gaussian classes


@pytest.mark.parametrize("separation", [1.0, 3.0])
def test_two_classes_overlap_as_their_separation_says(separation: float) -> None:
    sizes = {"num_samples": 40_000, "num_features": 10, "num_classes": 2, "separation": separation, "noise": 2.5}
    blocks = everything(open_kind("synthetic_classification", **sizes))
    inputs, target = blocks[INPUTS], blocks[TARGET]
    best = stats.norm.cdf(separation / 2)
    half = len(target) // 2
    for classifier in (NearestCentroid(), LinearDiscriminantAnalysis()):
        accuracy = classifier.fit(inputs[:half], target[:half]).score(inputs[half:], target[half:])
        assert accuracy == pytest.approx(best, abs=0.01)
    residuals = inputs - np.stack([inputs[target == code].mean(axis=0) for code in (0, 1)])[target]
    assert residuals.std() == pytest.approx(2.5, rel=0.01)
    assert stats.kstest(residuals[:5000, 0] / 2.5, "norm").pvalue > 1e-4


def test_class_means_lie_apart_as_asked() -> None:
    source = open_kind("synthetic_classification", num_classes=6, num_features=50, separation=4.0, noise=0.5)
    means = source.means()
    squares = [np.square(means[i] - means[j]).sum() for i in range(6) for j in range(i)]
    assert np.sqrt(np.mean(squares)) == pytest.approx(2.0, rel=1e-5)
    assert min(squares) > 1


# Images


@pytest.mark.parametrize("channels", [1, 3])
def test_the_spectrum_of_an_image_shows_its_class(channels: int) -> None:
    source = open_kind("synthetic_images", num_samples=400, height=32, width=32, channels=channels, num_classes=6)
    blocks = everything(source)
    assert blocks[INPUTS].dtype == np.uint8
    assert blocks[INPUTS].shape == (400, 32, 32) if channels == 1 else (400, 32, 32, channels)
    images = blocks[INPUTS].reshape(400, 32, 32, channels).mean(axis=3) / 255 - 0.5
    power = np.abs(np.fft.fft2(images, s=(128, 128))) ** 2
    y, x = np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128), indexing="ij")
    power *= np.hypot(y, x) > 0.04
    peak = power.reshape(400, -1).argmax(axis=1)
    angle = np.arctan2(y.ravel()[peak], x.ravel()[peak]) % np.pi
    found = np.rint(angle / (np.pi / 6)).astype(int) % 6
    assert (found == blocks[TARGET]).mean() > 0.97


def test_noise_and_brightness_of_images() -> None:
    sizes = {"num_samples": 2000, "height": 16, "width": 16, "channels": 1, "num_classes": 2}
    clean, noisy = (everything(open_kind("synthetic_images", noise=noise, **sizes))[INPUTS] for noise in (0.0, 0.5))
    assert clean.mean() / 255 == pytest.approx(0.5, abs=0.01)
    assert 0.15 < clean.std() / 255 < 0.35
    assert noisy.std() > clean.std()
    assert (noisy.min(), noisy.max()) == (0, 255)


# Sequences


def test_the_frequency_of_a_sequence_shows_its_class() -> None:
    sizes = {"num_samples": 600, "num_features": 2, "min_length": 64, "max_length": 200, "num_classes": 8}
    blocks = everything(open_kind("synthetic_sequences", **sizes))
    rows = blocks[INPUTS]
    found = []
    for start, length in zip(rows.offsets[:-1], rows.lengths, strict=True):
        power = (np.abs(np.fft.rfft(rows.values[start : start + length], 4096, axis=0)) ** 2).sum(axis=1)
        found.append(round(power.argmax() / 4096 * 4 * 8) - 1)
    assert (np.array(found) == blocks[TARGET]).mean() > 0.99


def test_lengths_are_even_and_independent_of_the_class() -> None:
    source = open_kind("synthetic_sequences", num_samples=40_000, min_length=3, max_length=12, num_classes=2)
    lengths, classes = source.lengths(INPUTS), source.column(TARGET)
    assert np.bincount(lengths).tolist() == [0, 0, 0, *[4000] * 10]
    assert stats.chi2_contingency(sparse.coo_array((np.ones(40_000), (lengths - 3, classes))).toarray()).pvalue > 1e-4


def test_sequences_have_the_noise_asked_for() -> None:
    sizes = {"num_samples": 4000, "num_features": 1, "min_length": 50, "max_length": 50}
    quiet, loud = (
        everything(open_kind("synthetic_sequences", noise=noise, **sizes))[INPUTS].values for noise in (0, 2.0)
    )
    assert np.abs(quiet).max() <= 1
    assert quiet.std() == pytest.approx(np.sqrt(0.5), rel=0.01)
    assert (loud - quiet).std() == pytest.approx(2.0, rel=0.01)


# Topics


def test_the_planted_subspace_is_found() -> None:
    sizes = {"num_samples": 4000, "num_terms": 300, "num_topics": 5, "words_per_sample": 200}
    source = open_kind("synthetic_sparse_topics", **sizes)
    planted = source.planted()
    assert planted.sum(axis=1) == pytest.approx(np.ones(5))
    counts = everything(source)[INPUTS]
    _, strengths, found = svds(sparse.csr_array(counts, dtype=np.float64), k=6, rng=np.random.default_rng(0))
    order = np.argsort(-strengths)
    angles = linalg.subspace_angles(planted.T, found[order[:5]].T)
    assert np.rad2deg(angles).max() < 5
    assert strengths[order[4]] > 2 * strengths[order[5]]


def test_counts_follow_the_planted_topics() -> None:
    source = open_kind("synthetic_sparse_topics", num_samples=3000, num_terms=100, num_topics=3, words_per_sample=50)
    blocks = everything(source)
    counts, target, planted = blocks[INPUTS], blocks[TARGET], source.planted()
    assert counts.dtype == np.float32
    assert counts.has_canonical_format
    assert counts.sum(axis=1).tolist() == [50] * 3000
    for topic in range(3):
        expected = 0.7 * planted[topic] + 0.3 * planted.mean(axis=0)
        observed = counts[target == topic].sum(axis=0)
        assert stats.chisquare(observed, expected * observed.sum()).pvalue > 1e-4
    likelihood = counts @ np.log(0.7 * planted + 0.3 * planted.mean(axis=0)).T
    assert (likelihood.argmax(axis=1) == target).mean() > 0.99


# Graphs


@pytest.fixture(scope="module")
def graph() -> dict[str, Block]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generators, "PART_BYTES", 60_000)
        sizes = {"num_nodes": 6001, "num_classes": 4, "degree": 12.0, "homophily": 0.75, "num_features": 8}
        source = open_kind("synthetic_graph", separation=3.0, **sizes)
        assert len(source.borders) > 10
        assert source.square == {"adjacency"}
        return everything(source)


def test_edges_lead_both_ways_and_never_home(graph: dict[str, Block]) -> None:
    adjacency = graph["adjacency"]
    assert adjacency.shape == (6001, 6001)
    assert set(adjacency.data.tolist()) == {1.0}
    assert (adjacency != adjacency.T).nnz == 0
    assert not adjacency.diagonal().any()
    read = networkx.from_scipy_sparse_array(adjacency)
    assert read.number_of_edges() * 2 == adjacency.nnz
    assert networkx.number_of_selfloops(read) == 0


def test_degree_and_homophily_are_those_asked_for(graph: dict[str, Block]) -> None:
    read, classes = networkx.from_scipy_sparse_array(graph["adjacency"]), graph[TARGET]
    degrees = np.array([degree for _, degree in read.degree()])
    assert degrees.mean() == pytest.approx(12, rel=0.02)
    # Binomial with many trials: nearly Poisson, whose variance is its mean.
    assert degrees.var() == pytest.approx(12, rel=0.1)
    assert np.mean([classes[a] == classes[b] for a, b in read.edges]) == pytest.approx(0.75, abs=0.01)
    for code in range(4):
        assert degrees[classes == code].mean() == pytest.approx(12, rel=0.05)


def test_neighbours_and_features_show_the_class(graph: dict[str, Block]) -> None:
    votes = graph["adjacency"] @ np.eye(4)[graph[TARGET]]
    assert (votes.argmax(axis=1) == graph[TARGET]).mean() > 0.9
    score = NearestCentroid().fit(graph[INPUTS], graph[TARGET]).score(graph[INPUTS], graph[TARGET])
    assert 0.7 < score < 0.95


@pytest.mark.parametrize("part_bytes", [3000, 10**6])
@pytest.mark.parametrize(("homophily", "degree"), [(0.0, 5.0), (1.0, 5.0), (0.5, 20.0)])
def test_small_and_one_sided_graphs(
    part_bytes: int, homophily: float, degree: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generators, "PART_BYTES", part_bytes)
    nnz = 0
    for seed in range(20):
        sizes = {"num_nodes": 200, "num_classes": 7, "homophily": homophily, "degree": degree, "seed": seed}
        blocks = everything(open_kind("synthetic_graph", **sizes))
        adjacency, classes = blocks["adjacency"].toarray(), blocks[TARGET]
        assert (adjacency == adjacency.T).all()
        same = (classes[:, None] == classes) & (adjacency > 0)
        if homophily in (0.0, 1.0):
            assert same.sum() == homophily * adjacency.sum()
        nnz += int(adjacency.sum())
    assert nnz / 200 / 20 == pytest.approx(degree, rel=0.05)
