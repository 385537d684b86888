"""The reader of the sentences that the code has for an operator, wherever they stand in it."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, product
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]

# Functions that log, print, answer or keep a sentence that they are called with
_TAKERS = {"add", "answer", "append", "drop", "echo", "invalid", "invalidate", "print", "_log", "_record_spool"}
_LEVELS = {"info", "warning", "error", "exception"}
# What ``%`` fills in
_FILLED = re.compile(r"%[-.\d]*[sdgrf]")
_UNKNOWN = "<...>"
# A name that stands for what is filled in
_NAME = re.compile(r"<[^<>]*>")
# Errors of the language that the code raises with a sentence for the user
_BUILTIN = {"ValueError", "OSError", "RuntimeError", "SystemExit"}
# Errors whose text nobody is sent
_SILENT = {"NotConvertible"} | {name for name in vars(builtins) if name not in _BUILTIN}

Function = ast.FunctionDef | ast.AsyncFunctionDef
# Name of a variable, or of a function with () behind it -> what it is set to, or what it returns
Names = dict[str, list[ast.expr]]


class Reader:
    """The sentences of one file: what is raised, logged, printed, kept in a list, or reported as a fault."""

    def __init__(self, file: Path) -> None:
        self._alone: set[str] = set()
        self._tree = ast.parse(file.read_text(encoding="utf-8"))
        self._functions = [each for each in ast.walk(self._tree) if isinstance(each, Function)]
        constants = [each for each in self._tree.body if isinstance(each, ast.Assign | ast.AnnAssign)]
        self._constants = _assigned(*constants)
        self._calls = [each for each in ast.walk(self._tree) if isinstance(each, ast.Call)]
        self._inside = {f"{each.name}()": self._names(each) for each in self._functions}
        self._returned = {f"{each.name}()": _returned(each) for each in self._functions}

    def texts(self) -> Iterator[tuple[str, bool]]:
        """Yield the sentences, each as often as it stands there, and whether it is a fault of a configuration."""
        for table in ast.walk(self._tree):
            match table:
                case ast.Dict(values=values):
                    yield from ((text, False) for text in self._table(values))
                case ast.ClassDef(bases=[ast.Name(id="StrEnum")], body=body):
                    values = [member.value for member in body if isinstance(member, ast.Assign)]
                    yield from ((text, False) for text in self._table(values))
        inner = {nested for each in self._functions for nested in ast.walk(each) if nested is not each}
        for function in self._functions:
            names = self._constants | self._returned | self._names(function)
            for node in ast.walk(function) if function not in inner else ():
                for sentence, fault in _said(node, function):
                    texts = self._texts(sentence, names, node.args[1:] if isinstance(node, ast.Call) else ())
                    yield from ((text.strip(), fault) for text in texts if _is_sentence(text))
        yield from ((text, False) for text in self._alone)

    def _names(self, function: Function) -> Names:
        """Return the variables of a function, and those of its parameters that stand for texts."""
        return _assigned(function, tables=self._constants) | _passed(function, self._calls)

    def _table(self, values: list[ast.expr]) -> list[str]:
        """Return the texts of a dictionary, or of an enumeration, if all of them are sentences."""
        texts = [next(self._texts(value, self._constants)) for value in values]
        return texts if len(texts) > 1 and all(map(_is_sentence, texts)) else []

    def _texts(self, node: ast.expr, names: Names, arguments: Sequence[ast.expr] = ()) -> Iterator[str]:
        """Yield the alternatives of the text that an expression makes; <...> for what is no text."""
        match node:
            case ast.Constant(value=str(text)):
                yield _with_arguments(text, arguments)
            case ast.JoinedStr(values=parts):
                yield from map("".join, product(*(self._part(part, names) for part in parts)))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                yield from map("".join, product(self._part(left, names), self._part(right, names)))
            case ast.IfExp(body=body, orelse=orelse):
                yield from self._texts(body, names, arguments)
                yield from self._texts(orelse, names, arguments)
            case ast.BoolOp(op=ast.Or(), values=values):
                yield from chain.from_iterable(self._texts(value, names, arguments) for value in values)
            case ast.Name(id=name) if name in names:
                for value in names[name]:
                    yield from self._texts(value, _without(names, name), arguments)
            case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
                yield from self._texts(element, names)
            case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
                yield _UNKNOWN
                yield from self._texts(default, names)
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name), args=args
            ) if f"{name}()" in names:
                inside = _without(names, f"{name}()") | self._inside[f"{name}()"]
                for value in (*names[f"{name}()"], *(each for each in args if isinstance(each, ast.ListComp))):
                    yield from self._texts(value, inside)
            case _:
                yield _UNKNOWN

    def _part(self, part: ast.expr, names: Names) -> list[str]:
        """Return the alternatives of a part of a text if they are sentences, or two words; else the longest.

        A sentence that stands in the place of what is filled in, where there is nothing to fill in, is kept alone.
        """
        if isinstance(part, ast.Constant):
            return [str(part.value)]
        node = part.value if isinstance(part, ast.FormattedValue) else part
        texts = [text for text in self._texts(node, names) if text] or [_UNKNOWN]
        sentences = [text for text in texts if _is_sentence(text)]
        others = [text for text in texts if not _is_sentence(text)]
        if isinstance(node, ast.IfExp) and not sentences and len(others) > 1 and "<" not in "".join(others):
            return others
        if others and len(sentences) < 2:
            self._alone.update(sentences if _UNKNOWN in others else ())
            longest = max(others, key=len)
            has_words = _UNKNOWN not in others and re.search("[a-z]", _NAME.sub("", longest))
            return [longest if has_words else re.sub(r"\S.*\S|^$", _name_of(node), longest)]
        return [*sentences, *([_name_of(node)] if others else [])]


def _said(node: ast.AST, function: Function) -> Iterator[tuple[ast.expr, bool]]:
    """Yield the expressions at a place of the code that a person is to read; True for a fault of a configuration."""
    match node:
        case ast.Raise(exc=ast.Call(func=func, args=args, keywords=keywords)) if _last(func) not in _SILENT:
            yield from ((each, False) for each in args[:1] or [each.value for each in keywords])
        case ast.Call(func=ast.Attribute(attr=name, value=ast.Name(id="log") | ast.Attribute(attr="_log"))):
            yield from ((each, False) for each in node.args[:1] if name in _LEVELS)
        case ast.Call(func=ast.Attribute(attr="fault") | ast.Name(id="Fault"), args=args, keywords=keywords):
            yield from ((each, True) for each in [*args[-1:], *(each.value for each in keywords)])
        case ast.Call(func=func, args=args, keywords=keywords) if _last(func) in _errors() | _TAKERS:
            yield from ((each, False) for each in [*args, *(each.value for each in keywords)])
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value="; "), attr="join"), args=[ast.List(elts=elements)]
        ):
            yield from ((each, False) for each in elements)
        case ast.Call(func=ast.Name(id="Reading"), keywords=keywords):  # the words of an alarm
            yield from ((each.value, False) for each in keywords if each.arg == "message")
        case ast.BoolOp(op=ast.Or(), values=[_, ast.List(elts=elements)]):
            yield from ((each, False) for each in elements)
        case ast.Yield(value=ast.Tuple(elts=[_, sentence])) if _yields(function, "Fault"):
            yield sentence, True
        case ast.Yield(value=ast.JoinedStr() | ast.Constant() as sentence) if _yields(function, "Iterator[str]"):
            yield sentence, False
        case ast.Return(value=ast.List(elts=elements)):
            yield from ((each, False) for each in elements)
        case ast.Assign(targets=[ast.Subscript()], value=ast.JoinedStr() as sentence):
            yield sentence, False


def _last(func: ast.expr) -> str:
    """Return the name of a function, without that of its module or object."""
    return ast.unparse(func).rpartition(".")[2]


@cache
def _errors() -> set[str]:
    """Return the names of all exceptions of the project, and of those of the language that it words."""
    classes = [
        node
        for room in ("drivers", "ioc", "archiver", "rackioc", "sim")
        for file in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    found = {name for name in vars(builtins) if name.endswith(("Error", "Exception"))} | _BUILTIN
    while new := {each.name for each in classes if {ast.unparse(base) for base in each.bases} & found} - found:
        found |= new
    return found - _SILENT


def _assigned(*scopes: ast.AST, tables: Names | None = None) -> Names:
    """Return the variables of some scopes; one that runs over a column of a table, too."""
    found: Names = {}
    for node in chain(*map(ast.walk, scopes)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.setdefault(name, []).append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found.setdefault(name, []).append(value)
            case ast.AugAssign(target=ast.Name(id=name), value=ast.JoinedStr() | ast.Constant(value=str()) as value):
                found[name] = [ast.BinOp(each, ast.Add(), value) for each in found.get(name, [])]
            case (
                ast.For(target=ast.Tuple(elts=targets), iter=rows)
                | ast.comprehension(target=ast.Tuple(elts=targets), iter=rows)
            ):
                for number, target in enumerate(targets):
                    if isinstance(target, ast.Name) and (column := _column(rows, number, tables or {})):
                        found.setdefault(target.id, []).extend(column)
    return found


def _passed(function: Function, calls: list[ast.Call]) -> Names:
    """Return the parameters of a function for which it is called with nothing but texts, one a sentence at least."""
    parameters = [each.arg for each in function.args.args if each.arg != "self"]
    rows = [call.args for call in calls if _last(call.func) == function.name]
    columns = {name: [row[number] for row in rows if number < len(row)] for number, name in enumerate(parameters)}
    return {
        name: values
        for name, values in columns.items()
        if all(isinstance(value, ast.JoinedStr | ast.Constant) for value in values)
        and any(isinstance(value, ast.Constant) and _is_sentence(str(value.value)) for value in values)
    }


def _column(table: ast.expr, number: int, tables: Names) -> list[ast.expr]:
    """Return a column of a table that is written as tuples, here or at the top of the file."""
    match table:
        case ast.Name(id=name) if name in tables:
            return _column(tables[name][0], number, {})
        case ast.Tuple(elts=rows) | ast.List(elts=rows):
            return [row.elts[number] for row in rows if isinstance(row, ast.Tuple) and number < len(row.elts)]
    return []


def _returned(function: Function) -> list[ast.expr]:
    return [each.value for each in ast.walk(function) if isinstance(each, ast.Return) and each.value is not None]


def _without(names: Names, name: str) -> Names:
    """Return the names without one that is being followed: it may be made of itself."""
    return {each: values for each, values in names.items() if each != name}


def _yields(function: Function, kind: str) -> bool:
    """Return True for generators of a kind of thing."""
    return kind in ast.unparse(function.returns) if function.returns else False


def _with_arguments(text: str, arguments: Sequence[ast.expr]) -> str:
    """Return a text with the arguments' names in the place of ``%s`` and the like."""
    if not arguments:
        return text
    names: list[str] = []
    for argument in arguments:
        if isinstance(argument, ast.Starred):
            several = len(_FILLED.findall(text)) - len(arguments) + 1
            names += [_name_of(argument.value)] * several
        else:
            names.append(_name_of(argument))
    rest = iter(names)
    return _FILLED.sub(lambda _: next(rest, "<...>"), text)


def _name_of(node: ast.expr) -> str:
    """Return a short name for what is filled in."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return f"<{name.strip('_')}>"
        case ast.Call(func=ast.Name(id="len"), args=[inner]):
            return f"<number of {_name_of(inner).strip('<>')}>"
        case (
            ast.BoolOp(values=[inner, *_])
            | ast.Call(func=ast.Name(id="map"), args=[_, inner])
            | ast.Call(func=ast.Attribute(value=inner), args=[ast.Constant(), *_])
            | ast.Call(args=[inner, *_])
            | ast.Call(func=ast.Attribute(value=inner))
            | ast.Subscript(value=inner)
            | ast.BinOp(left=inner)
            | ast.GeneratorExp(generators=[ast.comprehension(iter=inner), *_])
            | ast.ListComp(generators=[ast.comprehension(iter=inner), *_])
        ):
            return _name_of(inner)
        case ast.Constant(value=str(text)):
            return text
    return _UNKNOWN


def _is_sentence(text: str) -> bool:
    """Return True for more than a word or a name."""
    return len(re.findall(r"\b[a-zA-Z]{2,}\b", _NAME.sub("", text))) > 1
