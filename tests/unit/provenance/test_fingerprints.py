"""Prose may change freely; whatever computes a result may not without being noticed."""

import shutil
from pathlib import Path

import grimp
import pytest

from headrace import registry
from headrace.provenance import fingerprints
from headrace.provenance.fingerprints import PACKAGE, code_fingerprint, combine, module_fingerprint, read_computes
from headrace.registry import kind_path, list_kinds

SOURCE = '''"""What the module says of itself."""

from dataclasses import dataclass

LIMIT = 10


@dataclass
class Thing:
    """What the class says of itself."""

    size: int = 3
    """What the field means."""

    def grow(self, by: int = 1) -> int:
        """What the method does."""
        # why
        if by > LIMIT:
            raise ValueError("too much")
        return self.size + by


def nothing() -> None:
    """Only prose."""
'''
PROSE = {
    "docstring of the module": ("What the module says of itself.", "Something else."),
    "docstring of the module removed": ('"""What the module says of itself."""\n', ""),
    "docstring of a class": ("What the class says of itself.", "Something\n\n    on several lines."),
    "docstring of a class removed": ('    """What the class says of itself."""\n\n', ""),
    "docstring of a field": ("What the field means.", "Its size in metres."),
    "docstring of a field removed": ('    """What the field means."""\n', ""),
    "docstring of a method": ("What the method does.", "Grow."),
    "docstring of a method removed": ('        """What the method does."""\n', ""),
    "docstring of a function": ("Only prose.", "Nothing at all."),
    "comment": ("# why", "# because"),
    "comment removed": ("        # why\n", ""),
    "blank lines": ("\n\nLIMIT", "\n\n\n\nLIMIT"),
    "layout": ("self.size + by", "(\n            self.size\n            + by\n        )"),
    "quotes": ('"too much"', "'too much'"),
    "spaces at the end": ("return self.size + by\n", "return self.size + by  \n\n\n"),
}
CODE = {
    "number": ("LIMIT = 10", "LIMIT = 11"),
    "kind of a number": ("LIMIT = 10", "LIMIT = 10.0"),
    "number for a truth value": ("size: int = 3", "size: int = True"),
    "default of a field": ("size: int = 3", "size: int = 4"),
    "default of an argument": ("by: int = 1", "by: int = 2"),
    "no default": ("by: int = 1", "by: int"),
    "None for a default": ("by: int = 1", "by: int = None"),
    "name": ("LIMIT", "MOST"),
    "operator": ("self.size + by", "self.size - by"),
    "order": ("self.size + by", "by + self.size"),
    "comparison": ("by > LIMIT", "by >= LIMIT"),
    "text of an error": ("too much", "too many"),
    "statement added": ("        return self", "        by += 0\n        return self"),
    "statement removed": ('            raise ValueError("too much")', "            pass"),
    "decorator": ("@dataclass", "@dataclass(frozen=True)"),
    "base": ("class Thing:", "class Thing(object):"),
    "import": ("from dataclasses import dataclass", "from dataclasses import dataclass, field"),
    "text that is returned": ('    """Only prose."""', '    return "Only prose."'),
    "text that is bound": ('    """Only prose."""', '    text = "Only prose."'),
}


def fingerprint_of(folder: Path, text: str) -> str:
    path = folder / f"module{len(list(folder.iterdir()))}.py"
    path.write_text(text)
    return module_fingerprint(path)


def edited(change: tuple[str, str]) -> str:
    assert change[0] in SOURCE
    return SOURCE.replace(*change)


@pytest.mark.parametrize("change", PROSE)
def test_prose_and_layout_do_not_count(tmp_path, change):
    assert fingerprint_of(tmp_path, edited(PROSE[change])) == fingerprint_of(tmp_path, SOURCE)


@pytest.mark.parametrize("change", CODE)
def test_code_counts(tmp_path, change):
    assert fingerprint_of(tmp_path, edited(CODE[change])) != fingerprint_of(tmp_path, SOURCE)


def test_every_change_of_code_is_told_from_every_other(tmp_path):
    found = {fingerprint_of(tmp_path, edited(change)) for change in CODE.values()}
    assert len(found) == len(CODE)


def test_the_fingerprint_is_the_same_on_every_python():
    """The tree of this text is written out by hand, so that another Python that dumps it differently is noticed."""
    tree = fingerprints._render(fingerprints.ast.parse('"""Prose."""\nx = f(1, y=None)\n'))
    assert tree == (
        "Module(body=[Assign(targets=[Name(id='x',ctx=Store())],value=Call(func=Name(id='f',ctx=Load()),"
        "args=[Constant(value=1)],keywords=[keyword(arg='y',value=Constant())]))])"
    )


def test_the_order_of_lines_does_not_count():
    assert combine(["a", "b"]) == combine(["b", "a"]) != combine(["ab"])


# What no artifact is identified by, and why. Everything else that a stage imports must be in its COMPUTES or in
# that of a stage whose artifacts it reads, since their identities are part of its own.
NEUTRAL = {
    "planning.artifacts": "names artifacts and says where they lie",
    "clusters.base": "where work runs; the number of workers must not change a bit",
    "clusters.local": "where work runs",
    "experiments.config": "types of parameters; their values are in the spec",
    "provenance.digests": "checks what was made, after it was made",
    "errors": "messages",
    "experiments.evaluation": "types of parameters; their values are in the spec",
    "experiments.experiment": "checks parameters; their values are in the spec",
    "provenance.fingerprints": "names artifacts",
    "tries.energy": "measures",
    "tries.gpu": "measures",
    "tries.history": "how often a job was tried, and what it used; shown beside the results",
    "running.jobs": "reads specs, seals and publishes",
    "logs": "messages",
    "running.ownership": "which process works where",
    "running.places": "how many runs are trained at a time; each gives the bits that it gives alone",
    "planning.plan": "names artifacts; what it decides is in the spec",
    "planning.runs": "what is planned; what it decides is in the spec",
    "running.pool": "in which processes work runs; each gives the bits that it gives alone",
    "running.processes": "which process works where",
    "provenance.manifests": "manifests and atomic writes; the format has a number of its own",
    "registry": "finds kinds by their file names; the kind itself is fingerprinted",
    "provenance.repository": "which commit the folder was at; shown beside the results",
    "schedulers.base": "where work runs",
    "experiments.shortening": "the experiment in fewer words; it is in the spec",
    "sources.archives": "unpacks what is then known by its content",
    "sources.downloads": "fetches what is then known by its content",
    "training.flops": "counts operations, which are shown beside the results",
    "training.launch": "in which processes ranks run",
    "training.outcomes": "how the ranks of a run ended",
    "tries.stopping": "when work stops; it goes on with the same bits",
    "experiments.sweeps": "draws parameters; their values are in the spec",
    "experiments.validation": "messages",
    "running.workers": "hands out calls and gathers their results in order",
    "experiments.yaml_files": "reads parameters; their values are in the spec",
}
UPSTREAM = {
    "shard": (),
    "preprocess": ("shard",),
    "train": ("preprocess", "shard"),
    # Features that are raw come from the shards.
    "evaluate": ("train", "shard"),
    "report": ("evaluate", "train", "preprocess", "shard"),
    "gate": ("evaluate", "train", "preprocess", "shard"),
}
STAGE_OF = {"datasets": "shard", "preprocessing": "preprocess", "models": "train", "corruptions": "evaluate"}
KINDS = [(group, kind) for group in STAGE_OF for kind in list_kinds(group)]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Who imports whom at run time, in functions too."""
    return grimp.build_graph("headrace", exclude_type_checking_imports=True, cache_dir=None)


def imported_by(imports: grimp.ImportGraph, module: str) -> set[str]:
    """All modules of ours that one imports, directly or not."""
    found = {name.removeprefix("headrace.") for name in imports.find_upstream_modules(f"headrace.{module}")}
    return {name for name in found if (PACKAGE / f"{name.replace('.', '/')}.py").is_file()}


def fingerprinted(stage: str) -> set[str]:
    """What makes the identity of a stage's artifacts: its own code and that of the stages it reads from."""
    stages = (stage, *UPSTREAM[stage])
    modules = {module for name in stages for module in read_computes(PACKAGE / "stages" / f"{name}.py")}
    return modules | {f"{group}.base" for group, name in STAGE_OF.items() if name in stages}


def test_every_stage_is_known_here():
    found = {path.stem for path in (PACKAGE / "stages").glob("*.py")} - {"__init__"}
    assert found == set(UPSTREAM)


@pytest.mark.parametrize("stage", UPSTREAM)
def test_a_stage_is_identified_by_all_code_that_computes(imports, stage):
    missing = imported_by(imports, f"stages.{stage}") - fingerprinted(stage) - set(NEUTRAL)
    # The gate judges and makes nothing; parsing and checking an experiment needs the bases of all kinds.
    checked = {"models.base", "preprocessing.base", "datasets.base", "corruptions.base", "experiments.splits"}
    missing -= checked & checked_in_planning(imports)
    assert not missing, f"stages/{stage}.py: add to COMPUTES, or to NEUTRAL with a reason: {sorted(missing)}"


def checked_in_planning(imports: grimp.ImportGraph) -> set[str]:
    """What planning imports: every stage does, through the paths of its artifacts."""
    return imported_by(imports, "planning.plan")


@pytest.mark.parametrize(("group", "kind"), KINDS)
def test_what_a_kind_imports_identifies_its_stage(imports, group, kind):
    own = set(read_computes(kind_path(group, kind), needed=False))
    missing = imported_by(imports, f"{group}.{kind}") - fingerprinted(STAGE_OF[group]) - own - set(NEUTRAL)
    assert not missing, f"{group}/{kind}.py: add to its COMPUTES, or to NEUTRAL with a reason: {sorted(missing)}"


@pytest.mark.parametrize("stage", UPSTREAM)
def test_what_is_said_to_compute_exists_and_is_used(imports, stage):
    for module in read_computes(PACKAGE / "stages" / f"{stage}.py"):
        assert fingerprints.module_path(module).is_file()
        assert module not in NEUTRAL
        kinds = [f"{group}.{kind}" for group, kind in KINDS if STAGE_OF[group] == stage]
        used = imported_by(imports, f"stages.{stage}").union(*(imported_by(imports, kind) for kind in kinds))
        assert module in used, f"stages/{stage}.py: {module} is in COMPUTES and is not used"


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of the package that the fingerprints are taken of."""
    package = tmp_path / "headrace"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprints, "PACKAGE", package)
    monkeypatch.setattr(registry, "PACKAGE", package)
    known: dict[str, str] = {}

    def of_content(path: Path) -> str:
        """Neither cached by path, as the edits here need, nor parsed twice."""
        text = path.read_text()
        known[text] = known.get(text) or module_fingerprint.__wrapped__(path)
        return known[text]

    monkeypatch.setattr(fingerprints, "module_fingerprint", of_content)
    return package


def fresh(stage: str, *kinds: tuple[str, str]) -> str:
    return code_fingerprint.__wrapped__(stage, kinds)


@pytest.mark.parametrize("stage", UPSTREAM)
def test_an_edit_of_any_module_that_computes_is_noticed(copied, stage):
    before = fresh(stage)
    assert before == fresh(stage)
    for module in (f"stages.{stage}", *read_computes(copied / "stages" / f"{stage}.py")):
        path = copied.joinpath(*module.split(".")).with_suffix(".py")
        text = path.read_text()
        path.write_text(f"{text}\n# a comment\n")
        assert fresh(stage) == before
        path.write_text(f"{text}\nEDITED = True\n")
        assert fresh(stage) != before
        path.write_text(text)
    assert fresh(stage) == before


def test_an_edit_of_a_kind_or_its_base_is_noticed_by_who_uses_it(copied):
    path, base, other = (copied / "models" / f"{name}.py" for name in ("fnn", "base", "cnn"))
    before = fresh("train", ("models", "fnn"))
    for edited_path in (path, base):
        text = edited_path.read_text()
        edited_path.write_text(f"{text}\nEDITED = True\n")
        assert fresh("train", ("models", "fnn")) != before
        edited_path.write_text(text)
    other.write_text(other.read_text() + "\nEDITED = True\n")
    assert fresh("train", ("models", "fnn")) == before
    assert fresh("train", ("models", "cnn")) != fresh("train", ("models", "fnn"))


def test_a_stage_must_say_what_computes(tmp_path):
    path = tmp_path / "stage.py"
    path.write_text("x = 1\n")
    with pytest.raises(LookupError, match="has no COMPUTES"):
        read_computes(path)
