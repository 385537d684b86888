"""The assignments in a Python file, with line numbers, as if it were a YAML file. It is parsed and never run."""

from __future__ import annotations

import ast
from pathlib import Path

from rackioc.config.yamlfile import Fault, YamlFile


def read(path: Path) -> YamlFile:
    """Read a file and the classes in it; what is wrong with it is in ``faults``."""
    file = YamlFile(data={})
    try:
        tree = ast.parse(path.read_bytes())
    except OSError as error:
        file.fault((), f"cannot be read: {error.strerror}")
    except (SyntaxError, ValueError) as error:
        file.lines[()] = getattr(error, "lineno", None) or 1
        file.fault((), f"not Python: {getattr(error, 'msg', error)}")
    else:
        _assignments(tree, file)
    return file


def _assignments(block: ast.Module | ast.ClassDef, file: YamlFile) -> None:
    for statement in block.body:
        match statement:
            case ast.ClassDef():
                _assignments(statement, file)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value):
                _assign(name, value, file)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                _assign(name, value, file)
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Import() | ast.ImportFrom():
                pass
            case _:
                # without the statement itself: it may be a password's
                sentence = (
                    "only lines such as name = value are understood, as in SE521_dbsettings.py; the file is not run"
                )
                file.faults.append(Fault(statement.lineno, "", sentence))


def _assign(name: str, expression: ast.expr, file: YamlFile) -> None:
    file.lines[(name,)] = expression.lineno
    try:
        value = ast.literal_eval(expression)
    except (ValueError, TypeError):  # computed; a dictionary that cannot be
        value = ...
    if not isinstance(value, str | int | float | None):
        file.fault((name,), "must be a text in quotes or a number; the file is not run, so nothing can be computed")
    file.data[name] = value
