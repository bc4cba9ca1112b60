"""Recipes of compression in TOML: those shipped are sound, wrong ones say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.compression import load_compression
from models.errors import ConfigurationError

RECIPES = sorted((Path(__file__).parents[2] / "compress" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_shipped_recipe_names_its_command(path: Path) -> None:
    assert load_compression(path).steps
    assert f"tinyt2 compress compress/recipes/{path.name}" in path.read_text()


def test_the_names_of_tensors_may_have_dots(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('[[steps]]\nkind = "quantize"\n[steps.tensors]\n"head.weight" = "uint4"\n')
    step = load_compression(path).steps[0]
    assert step.kind == "quantize"
    assert step.tensors == {"head.weight": "uint4"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[steps]]\nkind = "quantise"', r"\[\[steps\]\] number 1: quantise: unknown kind; .*ize"),
        ('[[steps]]\nkind = "cluster"\nbit = 4', r"number 1, cluster: bit: .* did you mean bits"),
        ('[[steps]]\nkind = "cluster"\nbits = 5', r"number 1, cluster bits: expected 4 or 8"),
        ("[[steps]]\nbits = 5", "say its kind, one of distill, "),
        ('[steps]\nkind = "cluster"', "array of tables: double its brackets"),
        ('[model]\nname = "x"', "steps: Field required"),
        ('[gate]\nmax_ece = 1\n[[steps]]\nkind = "cluster"', r"\[gate\]: .* did you mean gates"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=complaint):
        load_compression(path)


def test_a_recipe_may_extend_another(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "first.toml").write_text(
        '[model]\nname = "a"\n[network]\nwidth = 16\nlatents = 3\n'
    )
    (tmp_path / "base" / "second.toml").write_text(
        'extends = "../first.toml"\n[network]\nwidth = 20\n[[steps]]\nkind = "cluster"\nbits = 8\n'
    )
    path = tmp_path / "third.toml"
    path.write_text('extends = "base/second.toml"\n[[steps]]\nkind = "quantize"\n')
    recipe = load_compression(path)
    assert (recipe.model.name, recipe.network.width, recipe.network.latents) == ("a", 20, 3)
    assert [step.kind for step in recipe.steps] == ["quantize"]


@pytest.mark.parametrize(
    ("base", "text", "complaint"),
    [
        (
            "[network]\nwidht = 3",
            'extends = "base.toml"',
            r"base\.toml: \[network\] widht: .* width",
        ),
        (
            "[network]\nwidth = 'a'",
            'extends = "base.toml"',
            r"base\.toml: \[network\] width: expected",
        ),
        ('extends = "recipe.toml"', 'extends = "base.toml"', r"recipe\.toml: extends itself"),
        ("", 'extends = "bases.toml"', r"cannot read the settings file .*bases\.toml"),
        ("", "extends = 3", r"recipe\.toml: extends names a file, in quotes"),
    ],
)
def test_what_is_wrong_with_an_extended_recipe_is_named(
    tmp_path: Path, base: str, text: str, complaint: str
) -> None:
    (tmp_path / "base.toml").write_text(base)
    path = tmp_path / "recipe.toml"
    path.write_text(f'{text}\n[[steps]]\nkind = "quantize"\n')
    with pytest.raises(ConfigurationError, match=complaint):
        load_compression(path)
