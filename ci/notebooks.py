"""The rules for notebook sources, and their code as scripts for the type checker."""

import ast
from pathlib import Path
from typing import Any

import nbformat

LONGEST_CELL = 12
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While)
BOX = ("**Cost**", "**Time**", "**Can go wrong**")


def faults(folder: Path) -> list[str]:
    """One sentence for each broken rule in the notebooks of a folder."""
    return [
        f"{path.name}: {fault}"
        for path in sorted(folder.glob("*.ipynb"))
        for fault in in_notebook(nbformat.read(path, as_version=4), path.name)
    ]


def in_notebook(notebook: Any, name: str) -> list[str]:
    """One sentence for each broken rule in one notebook."""
    cells = notebook.cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    faults = [fault for number, cell in enumerate(cells) for fault in in_cell(number, cell)]
    first = cells[0].source
    if not first.startswith(f"# {name[:2]} · "):
        faults.append(f"does not begin with a heading '# {name[:2]} · …'")
    faults += [f"its first cell has no {word}" for word in BOX if word not in first]
    parameters = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(parameters) != 1 or not are_literals(parameters[0].source):
        faults.append("needs exactly one cell tagged 'parameters', with literals only")
    if f'notebook.finish(run, "{name[:2]}")' not in "\n".join(cell.source for cell in code[-2:]):
        faults.append("does not end with the stage's checklist")
    return faults


def in_cell(number: int, cell: Any) -> list[str]:
    """One sentence for each broken rule in one cell."""
    if not cell.source.strip():
        return [f"cell {number} is empty"]
    if cell.cell_type != "code":
        return []
    faults = []
    if cell.outputs or cell.execution_count:
        faults.append(f"cell {number} has outputs")
    if len(cell.source.splitlines()) > LONGEST_CELL:
        faults.append(f"cell {number} has more than {LONGEST_CELL} lines")
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:
        return [*faults, f"cell {number} is not plain Python"]
    if any(isinstance(node, LOGIC) for node in ast.walk(tree)):
        faults.append(f"cell {number} contains logic; move it to helpers/")
    return faults


def are_literals(source: str) -> bool:
    """Whether a cell assigns literals and does nothing else."""
    return all(
        isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for node in ast.parse(source).body
    )


def as_scripts(folder: Path, target: Path) -> list[Path]:
    """Write each notebook's code as one script; returns the scripts."""
    scripts = []
    for path in sorted(folder.glob("*.ipynb")):
        code = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        script = target / f"notebook_{path.stem.replace('-', '_')}.py"
        script.write_text("\n".join(code) + "\n")
        scripts.append(script)
    return scripts
