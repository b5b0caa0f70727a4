"""The report as a reader meets it: what the page says, and that nothing in it can be more than text."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import html.parser
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.figures import convergence
from headrace.figures.numbers import format_number
from headrace.findings.gathering import gather_traces
from headrace.findings.results import MetricValue, Results
from headrace.linalg.progress import Convergence
from headrace.planning.artifacts import artifact_path
from headrace.provenance.manifests import write_json
from headrace.reporting.report import embed_json, render
from sample_results import (
    HOSTILE,
    broken_quickstart,
    corrupted_quickstart,
    forecasts,
    hostile,
    make_dataset,
    make_references,
    make_results,
    make_step,
    make_trace,
    quickstart,
    quickstart_runs,
    two_datasets,
    unconverged,
)

VOID = {"meta", "img", "br", "link", "input", "hr"}


@functools.cache
def rendered(make: Callable[[], Results]) -> str:
    """Return the report of a sample."""
    return render(make())


class Page(html.parser.HTMLParser):
    """A page as a browser splits it: its tags, its text, and what its scripts and styles hold."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.sources: list[tuple[str, dict[str, str], str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in {"td", "th"}:
            self.words.append(" ")

    def handle_data(self, data):
        if self.open and self.open[-1] in {"script", "style"}:
            tag, attributes = next(pair for pair in reversed(self.tags) if pair[0] == self.open[-1])
            self.sources.append((tag, attributes, data))
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        """Return what a reader sees, with single spaces."""
        return re.sub(r"\s+", " ", "".join(self.words))

    def attributes(self, name: str) -> list[str]:
        """Return every value of an attribute."""
        return [values[name] for _, values in self.tags if name in values]

    @property
    def specs(self) -> list[dict]:
        """Return the charts."""
        return [
            json.loads(data)
            for _, attributes, data in self.sources
            if attributes.get("type") == "application/json" and "id" not in attributes
        ]

    @property
    def run_table(self) -> dict:
        """Return what the page of a run is made from."""
        (table,) = [json.loads(data) for _, attributes, data in self.sources if attributes.get("id") == "run-table"]
        return table


@pytest.fixture(scope="module")
def page() -> Page:
    """Return the report of a quickstart in which all went well."""
    return Page(rendered(quickstart))


def replaced(**changes: object) -> Page:
    """Return the report of a changed quickstart."""
    return Page(render(dataclasses.replace(quickstart(), **changes)))


def test_the_page_is_one_well_formed_document(page):
    assert page.open == []
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-4]", tag)]
    assert headings.count("h1") == 1
    identities = page.attributes("id")
    assert len(set(identities)) == len(identities)
    targets = [link[1:] for link in page.attributes("href") if link.startswith("#")]
    assert set(targets) <= set(identities)


def test_question_answer_and_runner_up_come_first(page):
    text = page.text
    assert "Which of four model families reads handwritten digits best?" in text
    for words in (
        "cnn is best.",
        "over 3 seeds; fnn (learning_rate=0.001) comes next with",
        "chosen by their mean accuracy on validation",
    ):
        assert words in text
    assert text.index("cnn is best.") < text.index("Learning curves", text.index("cnn is best."))
    assert "Read this first" not in text
    assert "None: every run finished." in text


def test_every_value_of_every_seed_is_on_the_page_exactly_and_readably(page):
    exact = set(page.attributes("value"))
    for run in quickstart_runs():
        assert run.id in page.text
        for metric in run.metrics:
            assert repr(metric.value) in exact
            assert format_number(metric.value) in page.text
            interval = f"[{format_number(metric.low)}, {format_number(metric.high)}]"
            assert interval in page.text


def test_every_run_has_all_of_its_parameters_and_values_in_the_table_of_the_page():
    runs = quickstart_runs()
    odd = [MetricValue("accuracy", "test", value, math.nan, math.nan) for value in (math.nan, math.inf)]
    runs[0] = dataclasses.replace(runs[0], metrics=odd[:1])
    runs[1] = dataclasses.replace(runs[1], metrics=odd[1:])
    table = replaced(runs=runs).run_table
    assert sorted(row["id"] for row in table["runs"]) == sorted(run.id for run in runs)
    rows = {row["id"]: row for row in table["runs"]}
    for run in runs:
        row = rows[run.id]
        assert dict(table["parameters"][row["parameters"]]).keys() == run.parameters.keys()
        columns = [tuple(column) for column in table["candidates"][row["candidate"]]["columns"]]
        found = {column: value[0] for column, value in zip(columns, row["values"], strict=True) if value}
        assert found == {(metric.metric, metric.split): repr(metric.value) for metric in run.metrics}
    # The three seeds of a setting share their parameters.
    assert len(table["parameters"]) == 5


def test_rows_say_parameters_time_and_the_distance_from_the_baseline(page):
    for words in ("421 642", "15.2 s", "vs fnn", "baseline", "chosen on validation", "+0.0"):
        assert words in page.text


def test_data_splits_workers_and_origin_are_on_the_page(page):
    for words in ("mnist5k", "train 3 500", "validation 750", "tls://127.0.0.1:41002", "10, written by 2 workers"):
        assert words in page.text
    for words in ("CC-BY-SA-3.0", "sha256:5a3c91e0", "28 × 28", "artifacts/shard/digits-1f0c2a77"):
        assert words in page.text
    assert "https://doi.org/10.1109/5.726791" in page.attributes("href")


def test_how_to_reproduce_is_on_the_page(page):
    for words in (
        "snakemake --cores all --configfile results/quickstart/experiment.yaml",
        "torch 2.13.0",
        "sha256:c0ffee11",
    ):
        assert words in page.text
    assert "cell: gru, hidden: 64" in page.text


def test_charts_and_images_are_all_there(page):
    assert len(page.specs) == 9
    images = [values for tag, values in page.tags if tag == "img"]
    assert len(images) == 2 + 3
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in images)


def test_tables_have_captions_and_scopes(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table")
    assert all(values.get("scope") in {"col", "row"} for tag, values in page.tags if tag == "th")


@pytest.mark.parametrize("make", [quickstart, hostile, two_datasets, unconverged])
def test_the_page_loads_nothing(make):
    page = Page(rendered(make))
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base", "form", "video", "audio"}
    loading = [
        (tag, name) for tag, values in page.tags for name in values if name in {"src", "srcset", "action", "data"}
    ]
    assert set(loading) <= {("img", "src")}
    assert all(source.startswith("data:image/png") for source in page.attributes("src"))
    assert all(tag == "a" for tag, values in page.tags if values.get("href", "").startswith("http"))
    styles = [data for tag, _, data in page.sources if tag == "style"]
    assert not any("url(" in style or "@import" in style for style in styles)


def test_the_policy_admits_the_scripts_by_their_hash_and_nothing_else():
    page = Page(rendered(hostile))
    (policy,) = [values["content"] for _, values in page.tags if values.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    code = [data for tag, values, data in page.sources if values.get("type") != "application/json"]
    digests = {base64.b64encode(hashlib.sha256(data.encode()).digest()).decode() for data in code}
    assert len(code) == 3
    assert digests == set(re.findall(r"'sha256-([^']+)'", policy))


def test_hostile_strings_stay_text():
    text = rendered(hostile)
    page = Page(text)
    assert "<img src=x" not in text
    assert page.open == []
    assert all(values["src"].startswith("data:") for tag, values in page.tags if tag == "img")
    assert not [name for _, values in page.tags for name in values if name.startswith("on")]
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 13
    visible = re.sub(r"\s+", " ", HOSTILE)
    assert page.text.count(visible) > 50
    fits = page.text[page.text.rindex("Convergence of iterative steps") :]
    assert fits[: fits.index("Resources and energy")].count(visible) == 4 + 3
    assert len(page.specs) == 10


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "\u2028\u2029", "&lt;", "<ScRiPt>", "\x00", "😀"])
def test_embedded_json_survives_any_string(text):
    embedded = str(embed_json({text: [text]}))
    assert not set("<>&\u2028\u2029") & set(embedded)
    assert json.loads(embedded) == {text: [text]}


def test_failed_and_missing_runs_are_said_first_and_explained():
    page = Page(rendered(broken_quickstart))
    text = page.text
    assert "Of 15 runs, 1 failed and 1 is not begun: every number here rests on the other 13." in text
    assert text.index("Of 15 runs") < text.index("cnn is best.")
    for words in ("loss is nan at epoch 3, step 41", "never started", "2 of 3"):
        assert words in text
    failed = next(run for run in broken_quickstart().runs if run.status == "failed")
    assert failed.id in text[text.index("Failures", text.index("Data and splits")) :]


def test_a_failed_step_that_is_no_run_is_said_first():
    steps = [
        make_step("preprocess", "pixels-1", [], status="failed", reason="disk full"),
        make_step("train", "x", ["pixels-1"], status="not begun"),
    ]
    text = replaced(steps=steps).text
    assert "Stage preprocess: 1 failed." in text
    assert "disk full" in text
    assert "Stage train" not in text


def test_a_fit_that_did_not_converge_is_said_first_and_in_words():
    page = Page(rendered(unconverged))
    slow = unconverged().traces[1]
    sentence = (
        f"Step 1-nmf of features parts on digits did not converge: relative residual {format_number(slow.value)} "
        "after 100 of at most 100 iterations, tolerance 1e-06."
    )
    assert page.text.index("Read this first") < page.text.index(sentence) < page.text.index("cnn is best.")
    assert "Step 0-truncated_svd" not in page.text
    assert page.text.count("did not converge") == 2


def test_every_iterative_step_has_a_row_and_a_chart():
    page = Page(rendered(unconverged))
    order = [page.text.rindex(words) for words in ("Data and splits", "Convergence of iterative steps", "Failures")]
    assert order == sorted(order)
    fast, slow = unconverged().traces
    for row in (
        f"topics 0-truncated_svd relative residual {format_number(fast.value)} 1e-06 12 of 50 3.00 s 18.0 MiB yes ",
        f"parts 1-nmf relative residual {format_number(slow.value)} 1e-06 100 of 100 25.0 s 150.0 MiB NO ",
    ):
        assert f" digits {row}" in page.text
    assert {repr(fast.value), repr(slow.value)} <= set(page.attributes("value"))
    assert len(page.specs) == 9 + 2
    assert "fits are drawn" not in page.text


def test_a_page_without_iterative_steps_does_not_speak_of_them(page):
    assert "onvergence" not in page.text
    assert "#convergence" not in page.attributes("href")


def test_a_fit_without_a_single_iteration_has_a_row_and_no_chart():
    page = replaced(traces=[make_trace([])])
    assert "digits topics 0-truncated_svd relative residual 0 1e-06 0 of 50 – – yes" in page.text
    assert len(page.specs) == 9


def test_of_too_many_fits_those_that_did_not_converge_are_drawn(monkeypatch):
    monkeypatch.setattr(convergence, "MAX_PANELS", 2)
    page = replaced(traces=[make_trace([1e-3, last], features=f"f{last:g}") for last in (1e-7, 1e-8, 0.5)])
    assert "2 of 3 fits are drawn; the table has them all." in page.text
    assert "digits, f0.5: 0-truncated_svd did not converge" in page.text
    assert "digits, f1e-07: 0-truncated_svd converged" in page.text
    assert "digits, f1e-08: 0-truncated_svd" not in page.text


def test_traces_come_from_the_preprocess_artifacts_of_the_plan_in_the_order_of_the_chain(tmp_path):
    def leave(identity: str, name: str, value: float) -> None:
        line = {"iteration": 1.0, "value": value, "seconds": 0.5, "bytes_moved": 2048.0}
        said = Convergence("relative residual", value, 1e-3, value <= 1e-3, 7, True, (line,)).describe()
        write_json(artifact_path(tmp_path, "preprocess", identity) / f"{name}.convergence.json", said)

    leave("scaled-1", "10-nmf", 0.5)
    leave("scaled-1", "2-truncated_svd", 1e-4)
    leave("gone-2", "0-nmf", 0.5)
    features = {"digits/scaled": "scaled-1", "wine/scaled": "gone-2", "wine/raw": "wine-3"}
    manifests = {("preprocess", "scaled-1"): {}, ("preprocess", "gone-2"): None, ("shard", "wine-3"): {}}
    first, second = gather_traces(tmp_path, features, manifests)
    assert (first.dataset, first.features, first.name) == ("digits", "scaled", "2-truncated_svd")
    assert (second.name, second.measure, second.value, second.tolerance) == ("10-nmf", "relative residual", 0.5, 1e-3)
    assert (first.converged, second.converged) == (True, False)
    assert (second.iterations, second.max_iterations) == (1, 7)
    assert (second.seconds, second.bytes_moved, second.trace[0]["value"]) == (0.5, 2048.0, 0.5)


def test_a_value_that_is_no_number_is_said_first():
    runs = quickstart_runs()
    broken = MetricValue("accuracy", "test", math.nan, math.nan, math.nan)
    runs[6] = dataclasses.replace(runs[6], metrics=[broken])
    page = replaced(runs=runs)
    assert f"{runs[6].id} finished, but accuracy (test) isn't a finite number." in page.text
    assert "Not ranked: cnn (1 of 3 values of accuracy on test is no finite number)." in page.text


def test_a_broken_reconstruction_is_said():
    runs = quickstart_runs()
    inputs, outputs = runs[-3].reconstructions
    runs[-3] = dataclasses.replace(runs[-3], reconstructions=(inputs, outputs * math.nan))
    assert f"{outputs.size} pixels aren't finite numbers" in replaced(runs=runs).text


def test_latent_traversals_tell_their_dimension_and_its_divergence(page):
    for words in ("dimension 6 2.50 nats", "dimension 5 1.50 nats", "from -3 to 3 standard deviations of the prior"):
        assert words in page.text
    (alt,) = [words for words in page.attributes("alt") if "dimension 6" in words]
    assert alt == "Decoded images as dimension 6 goes from -3 to 3"
    without = [dataclasses.replace(run, traversals=None) for run in quickstart_runs()]
    assert "Latent traversals" not in replaced(runs=without).text


def test_no_clear_difference_is_said():
    assert "No clear difference between fnn and linear." in Page(rendered(two_datasets)).text


def test_an_experiment_without_runs_still_makes_a_page():
    empty = make_results([], [make_dataset("digits", "mnist5k", ("classification",), 5000)], description="")
    page = Page(render(empty))
    assert "There are no runs: nothing was compared." in page.text
    assert page.specs == []


def test_results_that_hold_only_what_they_must_make_a_page():
    bare = Results(
        "x", "", [], [dataclasses.replace(quickstart_runs()[0], metrics=(), curves=())], "name: x", "sha256:0"
    )
    assert "No answer: no run finished with a result." in Page(render(bare)).text


def test_a_source_is_a_link_only_when_it_is_a_web_address():
    dataset = make_dataset("digits", "mnist5k", ("classification",), 5000, source="javascript:alert(1)")
    page = replaced(datasets=[dataset])
    assert "javascript:alert(1)" in page.text
    assert not any(link.startswith("javascript") for link in page.attributes("href"))


def test_the_same_results_give_the_same_page():
    assert render(broken_quickstart()) == rendered(broken_quickstart)


def test_the_page_fits_in_a_mail():
    assert len(rendered(quickstart).encode()) < 1_500_000


def test_the_page_names_no_path_of_this_machine():
    assert str(Path(__file__).parents[3]) not in rendered(quickstart)


def test_only_what_differs_from_the_defaults_is_shown_first():
    page = replaced(short_yaml="name: x\nmodels: [{kind: cnn}]\n")
    assert page.text.index("name: x models: [{kind: cnn}]") < page.text.index("The resolved experiment file")


@pytest.mark.parametrize(
    ("num_changed", "num_unknown", "sentence"),
    [
        (0, 0, "at commit c0ffee, without changes."),
        (1, 0, "at commit c0ffee, which is not what was there: 1 file differs from it."),
        (2, 1, "which is not what was there: 2 files differ from it and 1 file or folder is not in it."),
    ],
)
def test_a_folder_that_is_not_its_commit_is_said_plainly(num_changed, num_unknown, sentence):
    repository = {"commit": "c0ffee", "num_changed": num_changed, "num_unknown": num_unknown}
    assert sentence in replaced(repository=repository).text


def test_without_a_commit_none_is_spoken_of(page):
    assert "at commit" not in page.text
    assert "as they are by default" not in page.text


def test_methods_stand_before_the_cards_and_cite_what_was_used(page):
    start = page.text.rindex("Methods In the words of a paper")
    assert start < page.text.index("Every model at its chosen setting")
    text = page.text[start:]
    assert text.index("adam (Kingma and Ba 2015)") < text.index("@inproceedings{adam,")
    assert "@inproceedings{transformer," not in text


def test_what_needs_no_training_stands_below_the_models():
    page = Page(render(dataclasses.replace(quickstart(), references=make_references())))
    table = page.text[page.text.index("Metrics on test by model") :]
    table = table[: table.index("Every run of digits")]
    most, nearest = table.index("most frequent class"), table.index("nearest neighbour")
    assert table.index("rnn") < most < nearest
    assert re.search(r"class frequencies of training ?reference – 0\.1", table[most:])
    # It has no likelihood, no baseline to be held against, no parameters and no time.
    assert re.match(
        r"nearest neighbour 1,000 of 3,500 training samples; features pixels ?reference – 0.93", table[nearest:]
    )
    assert "cnn is better than copying the class of the nearest training sample" in page.text
    rows = [values for tag, values in page.tags if tag == "tr" and values.get("class") == "untrained"]
    # Two below the results, and the same two below the statistics.
    assert len(rows) == 4
    # Densities have none.
    assert page.text.count("A reference needs no training") == 1


def test_a_reference_has_its_interval_below_its_value():
    values = [MetricValue("accuracy", "test", 0.1, 0.08, 0.1213), MetricValue("nll", "test", 2.303, 2.303, 2.303)]
    reference = dataclasses.replace(make_references()[0], metrics=values)
    text = replaced(references=[reference]).text
    row = text[text.index("most frequent class class") :][:120]
    assert "0.1000 [0.0800, 0.1213]" in row
    # Without width it would say that the value is certain.
    assert "2.303 –" in row
    assert "In brackets its bootstrap interval over the samples of the test split." in text


def test_the_last_value_is_not_said_to_be_from_the_training_split():
    reference = dataclasses.replace(make_references()[0], name="last_value")
    assert "but for the last value, which it reads in each window" in replaced(references=[reference]).text
    assert "but for the last value" not in replaced(references=make_references()).text


def test_only_what_is_drawn_and_told_is_explained(page):
    runs = []
    for run in quickstart_runs():
        bare = [dataclasses.replace(value, low=math.nan, high=math.nan) for value in run.metrics]
        runs += [dataclasses.replace(run, metrics=bare)] if run.seed == 0 else []
    text = replaced(runs=runs).text
    section = text[text.index("Values of the one seed") : text.index("Learning curves", text.index("Values of"))]
    assert "Dots are seeds. Ctrl" in section
    for words in ("bootstrap intervals", "in brackets", "t interval over the seeds", "the tick is", "±"):
        assert words in page.text
        assert words not in section.partition("Statistics")[0]


def test_the_contents_are_in_the_order_of_a_paper():
    wanted = ["answer", "results", "comparisons", "statistics", "curves", "confusions", "classes", "robustness"]
    wanted += ["reconstructions", "data", "resources", "failures", "methods", "cards", "reproduce"]
    results = dataclasses.replace(corrupted_quickstart(), versions={"torch": "2.13.0"})
    found = [link[1:] for link in Page(render(results)).attributes("href") if link.startswith("#")][1:]
    assert found == wanted
    text = Page(render(dataclasses.replace(results, repository={"commit": "c0ffee"}))).text
    end = text[text.rindex("The resolved experiment file") :]
    places = [end.index(words) for words in ("resolved", "torch 2.13.0", "at commit c0ffee", "snakemake --cores all")]
    assert places == sorted(places)


def test_what_noise_leaves_has_a_section_of_its_own_where_it_was_asked_for():
    page = Page(render(corrupted_quickstart()))
    text = page.text[page.text.rindex("Noise is added.") :]
    text = text[: text.index("Reconstructions digits: vae")]
    assert "as it is noise 0.1 noise 0.5 kept" in text
    # Of every model the chosen setting alone, and no density.
    assert [text.count(name) for name in ("fnn (learning_rate=0.001)", "learning_rate=0.003", "vae")] == [1, 0, 0]
    (chart,) = [spec for spec in page.specs if "over the strength of noise" in spec["description"]]
    means = [row for row in chart["datasets"]["means"] if row["model"] == "cnn"]
    assert [row["strength"] for row in means] == [0.0, 0.1, 0.5]
    assert [row["value"] / means[0]["value"] for row in means] == pytest.approx([1, 0.96, 0.8])
    assert len(chart["datasets"]["seeds"]) == 3 * 3 * 3
    assert "Robustness" not in Page(rendered(quickstart)).text


def test_every_kind_of_corruption_has_a_chart_and_a_table_of_its_own():
    page = Page(render(corrupted_quickstart()))
    blur = page.text[page.text.rindex("Images are blurred.") : page.text.rindex("Noise is added.")]
    assert "Left out: fnn, reading flat features, where blur needs images or sequences." in blur
    assert "as it is blur 0.1 blur 0.5 kept" in blur
    assert [blur.count(name) for name in ("fnn (learning_rate=0.001)", "cnn", "rnn")] == [0, 1, 1]
    # A fifth of the strength is gone: of 0.1 and 0.5 that leaves 0.98 and 0.9.
    assert blur.count("0.9400 ± 0 of accuracy on average") == 2
    (chart,) = [spec for spec in page.specs if "over the strength of blur" in spec["description"]]
    assert {row["model"] for row in chart["datasets"]["means"]} == {"cnn", "rnn"}
    axis = chart["layer"][0]["encoding"]["x"]["axis"]
    assert axis["title"] == "blur: standard deviation in pixels"
    assert axis["values"] == [0, 0.1, 0.5]


def test_a_dataset_that_no_model_can_be_blurred_on_is_told_why():
    results = corrupted_quickstart()
    runs = [
        dataclasses.replace(run, corrupted=[v for v in run.corrupted if v.corruption == "noise"])
        if run.task == "density"
        else dataclasses.replace(run, corrupted=(), uncorrupted={"blur": "flat features"})
        for run in results.runs
    ]
    page = Page(render(dataclasses.replace(results, runs=runs)))
    assert "Left out: cnn, fnn, rnn, reading flat features, where blur needs images or sequences." in page.text
    assert not [spec for spec in page.specs if "over the strength of" in spec.get("description", "")]


NEW = ("skill", "rmse_standardized", "mae_standardized")


def test_forecasts_are_shown_on_both_scales_and_beside_repetition():
    page = Page(render(forecasts()))
    table = page.text.split("Metrics on test by model")[1]
    assert "rmse ↓ mae ↓ r2 ↑ skill ↑ rmse_standardized ↓ mae_standardized ↓" in table
    repeated = table[table.index("last value") : table.index("A reference needs no training")]
    assert "27.10 24.30 0.2600 0 0.8300 0.6740" in repeated
    assert "each in standard deviations of its column over training. skill: the share by which" in table
    # The answer keeps to the main metric.
    answer = page.text[: page.text.index("Metrics on test by model")]
    assert not any(name in answer for name in NEW)


def test_results_of_before_there_were_standardised_errors_are_shown_as_they_are():
    old = Page(render(forecasts(NEW)))
    assert "rmse ↓ mae ↓ r2 ↑" in old.text
    assert not any(name in old.text for name in NEW)
    several = Page(render(forecasts(["skill"])))
    assert "rmse_standardized and mae_standardized: errors of all" in several.text
    assert "skill" not in several.text
    # One model that was judged before, beside one that was judged since.
    mixed = dataclasses.replace(forecasts(), runs=[*forecasts(NEW).runs[:2], *forecasts().runs[2:]])
    table = Page(render(mixed)).text.split("Metrics on test by model")[1]
    assert table[table.index("fnn") : table.index("rnn")].count("–") >= 3
    assert table[table.index("rnn") : table.index("last value")].count("0.8") >= 1
