"""The inputs of steps, damaged or removed between the steps, on a real catalogue and registry."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import write_deltalake

from recsim_tasks.contracts import PromoteResult
from recsim_tasks.foundation.errors import InputError, MissingError, RejectedError
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.operations.query import query
from recsim_tasks.operations.status import status as freshness
from recsim_tasks.refresh import release_steps, steps
from recsim_tasks.refresh.evaluate import PAGE, evaluate
from recsim_tasks.refresh.step_inputs import fetch_champion
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from recsim_tasks.vectors.index import Index
from refresh.conftest import PRODUCTS, at_head, embeddings
from refresh.test_plan_inputs import CHANGES, change, planned, trained, vacuum
from release.bundles import TRAINING, make_bundle
from release.registered import PASSED, REJECTED, move_alias, register, stored

INDEX = Path("index", "vectors.faiss")


def cut(folder: Path) -> None:
    """Cut a file short, in a new file: published files may be hard links."""
    data = (folder / INDEX).read_bytes()
    (folder / INDEX).unlink()
    (folder / INDEX).write_bytes(data[:100])


def lose(settings: Settings, how: str = "all") -> None:
    """Take away what MLflow keeps of release 1."""
    bundle = stored(Registry(settings), 1)
    shutil.rmtree(bundle) if how == "all" else (bundle / INDEX).unlink()


def test_a_champion_damaged_between_two_steps_is_fetched_again(behind: Settings) -> None:
    change(behind)
    planned(behind)
    workspace = Workspace.of(behind, "r")
    whole = digests(workspace.champion)
    cut(workspace.champion)
    assert fetch_champion(behind, workspace) == workspace.champion
    assert digests(workspace.champion) == whole


def test_a_champion_that_is_lost_after_the_plan_names_the_step_to_run_again(behind: Settings) -> None:
    change(behind)
    planned(behind)
    workspace = Workspace.of(behind, "r")
    lose(behind)
    cut(workspace.champion)
    with pytest.raises(
        MissingError,
        match=r"^The champion can no longer be read: .* Run `plan` again: .*`recsim plan --refresh r`\.",
    ):
        steps.append_index(behind, workspace)


@pytest.mark.parametrize("place", ["releases/1", "query/1", "refreshes/before/champion-1"])
@pytest.mark.parametrize("how", ["all", "one file"])
def test_an_intact_copy_on_this_machine_is_used_when_mlflow_has_none(
    behind: Settings, place: str, how: str
) -> None:
    change(behind)
    Registry(behind).download(1, behind.home / place)
    lose(behind, how)
    plan = planned(behind)
    assert (plan.decision, plan.champion, plan.champion_unreadable) == ("append", 1, None)
    assert Index.open(Workspace.of(behind, "r").champion / "index").products.num_rows == PRODUCTS


@pytest.mark.parametrize("how", ["all", "one file"])
@pytest.mark.parametrize("lost", [False, True], ids=["change feed", "no change feed"])
def test_a_champion_that_cannot_be_read_is_a_retrain_that_names_it(
    behind: Settings, how: str, lost: bool
) -> None:
    """A damaged copy does not count. The plan still names the champion, which the new release replaces."""
    change(behind)
    cut(Registry(behind).download(1, behind.home / "releases" / "1"))
    lose(behind, how)
    if lost:
        vacuum(behind)
    plan = planned(behind)
    assert (plan.decision, plan.champion, plan.warm_start) == ("retrain", 1, False)
    assert plan.reasons[0].startswith("The files of release 1, the champion, cannot be read: ")
    assert plan.champion_unreadable == plan.reasons[0]
    assert plan.changes == {"insert": PRODUCTS + 2, "replace": 0, "update": 0, "delete": 0}
    with pytest.raises(
        InputError,
        match=r"Mode append is not possible: The files of release 1, the champion, cannot be read: ",
    ):
        planned(behind, mode="append")


def test_what_does_not_need_the_champion_does_not_fetch_it(behind: Settings) -> None:
    assert planned(behind).decision == "skip"
    assert not Workspace.of(behind, "r").champion.exists()


def retrained(settings: Settings, folder: Path) -> Workspace:
    """A refresh that has trained a model and embedded the catalogue by it."""
    workspace = Workspace.of(settings, "r")
    make_bundle(folder, seed=5, count=PRODUCTS, cursor=at_head(settings))
    facts = json.loads((folder / "model" / "model.json").read_text())
    facts |= {"categories": TRAINING.categories, "backbone": TRAINING.backbone, "params": TRAINING.params}
    facts |= {"training": "d" * 64, "metrics": {}, "quality": {}, "ranks": 1, "trained_at": time.time()}
    facts["catalogue"] = at_head(settings).as_json()
    facts["digests"] = digests(folder / "model", "model.json")
    shutil.copytree(folder / "model", workspace.own_model)
    (workspace.own_model / "model.json").write_text(json.dumps(facts))
    workspace.keep(trained("f" * 64).model_copy(update={"trained_at": time.time()}))
    write_deltalake(settings.embeddings_uri, embeddings(Release.open(folder / "release")), mode="append")
    return workspace


def test_a_release_can_replace_a_champion_that_cannot_be_read_and_the_verdict_says_so(
    behind: Settings, tmp_path: Path
) -> None:
    lose(behind)
    planned(behind, mode="retrain")
    workspace = retrained(behind, tmp_path / "new")
    workspace.keep(steps.build_index(behind, workspace))
    result = workspace.keep(evaluate(behind, workspace))
    assert (result.verdict, result.champion) == ("passed", 1)
    (doubt,) = result.doubts
    assert doubt.startswith(
        "Comparable with the champion: the release was not compared with the champion. The files of release 1"
    )
    version = release_steps.register(behind, workspace).version
    assert Registry(behind).version(version).tags["gate.champion"] == "1"
    assert release_steps.promote(behind, version, "refresh", "airflow", None) == PromoteResult(
        version=2, previous=1, stage="Production"
    )


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": shutil.rmtree,
    "one file": lambda folder: next(
        path for path in folder.iterdir() if path.suffix in (".faiss", ".tflite")
    ).unlink(),
    "a byte": lambda folder: flip(
        next(path for path in folder.iterdir() if path.suffix in (".faiss", ".tflite"))
    ),
    "a file more": lambda folder: (folder / "extra").write_bytes(b"x"),
    "no receipt": lambda folder: next(
        path for path in folder.iterdir() if path.name in ("index.json", "model.json")
    ).unlink(),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_an_index_damaged_between_two_steps_names_the_step_to_run_again(behind: Settings) -> None:
    change(behind)
    for mode, action in (("append", "append"), ("rebuild", "build")):
        planned(behind, mode=mode)
        workspace = Workspace.of(behind, "r")
        workspace.keep(PASSED)
        (workspace.folder / PAGE).touch()
        for damage in DAMAGES.values():
            shutil.rmtree(workspace.index, ignore_errors=True)
            shutil.copytree(workspace.champion / "index", workspace.index)
            damage(workspace.index)
            for step in (evaluate, release_steps.register, steps.verify_index, steps.compact_index):
                with pytest.raises(
                    InputError,
                    match=r"^The index of refresh r is missing or damaged: .* Run `index` again: "
                    rf"clear that task, or `recsim index {action} --refresh r`\.$",
                ):
                    step(behind, workspace)


def test_a_model_damaged_between_two_steps_names_the_step_to_run_again(
    behind: Settings, tmp_path: Path
) -> None:
    planned(behind, mode="retrain")
    workspace = retrained(behind, tmp_path / "new")
    shutil.copytree(workspace.own_model, tmp_path / "whole")
    for damage in DAMAGES.values():
        damage(workspace.own_model)
        for step in (steps.embed, steps.build_index):
            with pytest.raises(
                InputError,
                match=r"^The model of refresh r is missing or damaged: .* Run `train` again: .*`recsim train",
            ):
                step(behind, workspace)
        shutil.rmtree(workspace.own_model, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", workspace.own_model)


def test_a_champion_that_was_deleted_is_named_and_is_no_first_start(behind: Settings) -> None:
    change(behind)
    Registry(behind).client.delete_model_version("recsim", "1")
    sentence = "Release 1 was in Production and was deleted from the registry. No earlier release is left: "
    plan = planned(behind)
    assert (plan.decision, plan.champion) == ("retrain", None)
    assert plan.reasons[0].startswith(sentence)
    status = freshness(behind)
    assert status.champion is None
    assert str(status.problem).startswith(sentence)
    with pytest.raises(
        InputError, match="Mode rebuild is not possible: Release 1 was in Production and was deleted"
    ):
        planned(behind, mode="rebuild")


def test_an_alias_moved_by_hand_is_reported_and_the_champion_stays(behind: Settings, tmp_path: Path) -> None:
    registry = Registry(behind)
    make_bundle(tmp_path / "worse", seed=9, count=PRODUCTS, cursor=at_head(behind))
    worse = register(registry, tmp_path / "worse" / "release", refresh="worse", evaluation=REJECTED)
    move_alias(registry, worse)
    change(behind)
    plan, status = planned(behind), freshness(behind)
    assert (plan.decision, plan.champion, plan.changes) == ("append", 1, CHANGES)
    assert status.champion is not None
    assert status.champion.version == 1
    for problem in (plan.reasons[0], str(status.problem)):
        assert problem.startswith(
            f"The alias champion was moved by hand to release {worse}, which is not served: the gate "
            f"rejected it"
        )
        assert problem.endswith("`recsim promote --version 1` restores the alias.")
    assert query(behind, None, "p001", {"k": 3}).release == 1
    with pytest.raises(RejectedError, match=f"The gate rejected release {worse}"):
        Promotions(registry).promote(worse)


def test_a_damaged_copy_is_fetched_again_for_a_query_and_an_older_copy_is_removed(behind: Settings) -> None:
    first = query(behind, None, "p001", {"k": 3})
    (behind.home / "query" / "7").mkdir()
    cut(behind.home / "query" / "1")
    assert query(behind, None, "p001", {"k": 3}) == first
    assert [path.name for path in (behind.home / "query").iterdir()] == ["1"]
