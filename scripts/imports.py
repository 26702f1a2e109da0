"""Who imports whom in the package: files, arrows between them, floors and circles, by folder.

python scripts/imports.py

An import counts wherever it stands: at the top, in a function, under TYPE_CHECKING.
"""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "grounding"
Graph = dict[str, set[str]]  # file -> the files that it imports, both as posix paths inside the package


def files(package: Path) -> dict[str, str]:
    """The modules of the package: dotted name -> file."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        parts = inside.parent.parts if path.name == "__init__.py" else inside.with_suffix("").parts
        names[".".join((package.name, *parts))] = inside.as_posix()
    return names


def imported(tree: ast.AST, module: str, is_package: bool, names: dict[str, str]) -> set[str]:
    """The modules of the package that a file imports: `from a import b` is `a.b` where that is a module, else `a`."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level + is_package or None] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            modules |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in names else base for alias in node.names}
    return modules & names.keys()


def graph(package: Path = PACKAGE) -> Graph:
    """Every file of the package and what it imports of it; that a module's `__init__` runs before it is not counted."""
    names, arrows = files(package), {}
    for module, file in names.items():
        tree = ast.parse((package / file).read_text(encoding="utf-8"))
        targets = imported(tree, module, file.endswith("__init__.py"), names)
        arrows[file] = {names[target] for target in targets} - {file}
    return arrows


def reachable(arrows: Graph, start: str) -> set[str]:
    """All files that a file imports, and those that these import."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for target in arrows[waiting.pop()] - seen:
            seen.add(target)
            waiting.append(target)
    return seen


def circles(arrows: Graph) -> list[list[str]]:
    """The largest groups of files that all import each other, if only through others; sorted, none is the aim."""
    below = {file: reachable(arrows, file) for file in arrows}
    groups = {tuple(sorted(other for other in below[file] if file in below[other])) for file in arrows}
    return [list(group) for group in sorted(groups) if group]


def floors(arrows: Graph) -> int:
    """Files on the longest way down; those of a circle stand on one floor."""
    floor: dict[frozenset[str], int] = {}
    group = {file: frozenset({file}) for file in arrows}
    group |= {file: frozenset(circle) for circle in circles(arrows) for file in circle}

    def height(files: frozenset[str]) -> int:
        if files not in floor:
            below = {group[target] for file in files for target in arrows[file]} - {files}
            floor[files] = 1 + max(map(height, below), default=0)
        return floor[files]

    return max((height(files) for files in group.values()), default=0)


def within(arrows: Graph, folder: str) -> Graph:
    """The part of a graph that lies in a folder, at any depth."""
    inside = {file for file in arrows if file.startswith(folder)}
    return {file: arrows[file] & inside for file in sorted(inside)}


def main() -> None:
    """Print a line for each folder, the package last, and its circles."""
    arrows = graph()
    folders = sorted({f"{Path(file).parent.as_posix()}/" for file in arrows} - {"./"})
    print(f"{'folder':28}{'files':>7}{'arrows':>8}{'floors':>8}{'circles':>9}")
    for folder in [*folders, ""]:
        part = within(arrows, folder)
        count = sum(map(len, part.values()))
        print(f"{folder or 'all':28}{len(part):7}{count:8}{floors(part):8}{len(circles(part)):9}")
    for circle in circles(arrows):
        print(f"circle of {len(circle)}: {', '.join(circle)}")


if __name__ == "__main__":
    main()
