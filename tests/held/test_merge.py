"""Adapters of one base are summed exactly; those of another are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seal_ray.adapters.lora import Adapter, tensor_names
from seal_ray.cli.app import main
from seal_ray.ops.merge import merge_adapters
from seal_ray.policy.catalogue import catalogue_of
from seal_ray.record.storage import Store
from seal_ray.types import UserError
from tests.held.test_retract import added

pytestmark = pytest.mark.slow


def merged(folder: Path, out: Path, *names: str) -> int:
    return merge_adapters(str(folder), catalogue_of(str(folder)), names, str(out))


def test_what_is_merged_adds_exactly_what_all_of_them_add(whole: Path, tmp_path: Path) -> None:
    names = ["library/0/lesson-1", "library/0/lesson-2", "kl/0/lesson-3"]
    assert merged(whole, tmp_path / "sum", *names) == 48
    parts = [added(each.load(Store(str(whole)))) for each in catalogue_of(str(whole)) if each.name in names]
    for module, change in added(Adapter.load(tmp_path / "sum")).items():
        np.testing.assert_allclose(change, sum(part.get(module, 0) for part in parts), atol=1e-6)
    assert (tmp_path / "sum/tokenizer.json").is_file()


def test_one_is_exported_with_a_card_and_may_be_merged_from_its_folder(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "third"
    with pytest.raises(SystemExit, match="0"):
        main(["adapters", "export", str(whole), "library/0/lesson-3", "--into", str(out)])
    assert "what passage 3 of sequence 0 by library alone taught" in (out / "README.md").read_text()
    both = [str(out), "library/0/lesson-4"]
    with pytest.raises(SystemExit, match="0"):
        main(["adapters", "merge", str(whole), *both, "--into", str(tmp_path / "both")])
    assert Adapter.load(tmp_path / "both").rank == 32
    assert "2 adapters, of rank 32 together" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["adapters", "merge", str(whole), *both, "--into", str(out)])
    assert "there is something already" in capsys.readouterr().err


def test_an_adapter_of_another_base_is_refused_and_both_are_named(whole: Path, tmp_path: Path) -> None:
    first = next(each for each in catalogue_of(str(whole)) if each.name == "library/0/lesson-1")
    adapter = first.load(Store(str(whole)))
    adapter.save(tmp_path / "theirs", "Qwen/Qwen3-0.6B")
    with pytest.raises(UserError, match=r"theirs: is an adapter of Qwen/Qwen3-0\.6B, and not of microworld"):
        merged(whole, tmp_path / "sum", "library/0/lesson-2", str(tmp_path / "theirs"))
    down, up = tensor_names(adapter.modules[0])
    wider = {**adapter.tensors, down: np.ones((16, 1000), np.float32)}
    replace(adapter, tensors=wider).save(tmp_path / "wider", "microworld")
    with pytest.raises(UserError, match=r"wider: .* is \(1000, \d+\) there and .* in library/0/lesson-2"):
        merged(whole, tmp_path / "sum", "library/0/lesson-2", str(tmp_path / "wider"))
    assert up in adapter.tensors
    assert not (tmp_path / "sum").exists()
    replace(adapter).save(tmp_path / "nameless")
    with pytest.raises(UserError, match="nameless: does not say which base it is of"):
        merged(whole, tmp_path / "sum", "library/0/lesson-2", str(tmp_path / "nameless"))


def test_one_that_is_named_twice_would_count_twice_and_is_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is named twice"):
        merged(whole, tmp_path / "sum", "kl/0/after-8", "kl/0/after-8")


def test_a_lesson_beside_a_policy_that_holds_it_would_count_twice_and_is_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lesson-3: kl/0/lesson-3 is in it and in kl/0/after-3, and would count twice"):
        merged(whole, tmp_path / "sum", "kl/0/after-3", "kl/0/lesson-3")
    with pytest.raises(UserError, match="kl/0/lesson-1 is in it and in kl/0/after-2"):
        merged(whole, tmp_path / "sum", "kl/0/after-2", "kl/0/after-8")
    with pytest.raises(UserError, match="is in it and in joint/0/lesson-8"):
        merged(whole, tmp_path / "sum", "joint/0/lesson-8", "joint/0/after-8")
    first = next(each for each in catalogue_of(str(whole)) if each.name == "kl/0/lesson-1")
    first.load(Store(str(whole))).save(tmp_path / "first", "microworld")
    with pytest.raises(UserError, match="first: is the same adapter as kl/0/lesson-1, and would count twice"):
        merged(whole, tmp_path / "sum", "kl/0/lesson-1", str(tmp_path / "first"))


def test_a_lesson_learnt_on_top_of_what_is_not_in_the_sum_is_said(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    merged(whole, tmp_path / "sum", "kl/0/after-2", "kl/0/lesson-3", "library/0/lesson-4")
    assert not caplog.messages
    merged(whole, tmp_path / "less", "kl/0/lesson-2", "library/0/lesson-4")
    assert caplog.messages == ["kl/0/lesson-2 was learnt on top of kl/0/after-1, and not all of that is in the sum"]
