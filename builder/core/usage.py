"""Help before anything is installed: what build.py says of its verbs, read out of it."""

import ast

from builder.core import paths


def text(verb: str) -> str:
    """What a verb does and its options, or, where there is no such verb, which there are."""
    functions = _functions()
    if verb in functions:
        function = functions[verb]
        lines = [f"Usage: build.py {verb} {' '.join(['[OPTIONS]', *_arguments(function)])}", ""]
        lines += [f"  {line}".rstrip() for line in (ast.get_docstring(function) or "").splitlines()]
        options = _options(function)
        width = max((len(name) for name, _ in options), default=0)
        lines += ["", "Options:", *(f"  {name:{width}}  {told}".rstrip() for name, told in options)]
        lines += ["", f"  {_epilog(function)}"]
    else:
        lines = ["Usage: build.py [OPTIONS] VERB [ARGUMENTS]...", "", "Verbs:"]
        for name, function in sorted(functions.items()):
            lines.append(f"  {name:8}  {(ast.get_docstring(function) or '').splitlines()[0]}")
        lines += ["", "./build.py VERB --help tells more of one."]
    return "\n".join(lines)


def verbs() -> list[str]:
    """The names of all verbs."""
    return sorted(_functions())


def _functions() -> dict[str, ast.FunctionDef]:
    tree = ast.parse((paths.ROOT / "build.py").read_text(encoding="utf-8"))
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator).startswith("main.command") for decorator in node.decorator_list)
    }


def _calls(function: ast.FunctionDef, kind: str) -> list[ast.Call]:
    return [
        decorator
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"click.{kind}"
    ]


def _epilog(function: ast.FunctionDef) -> str:
    commands = [decorator for decorator in function.decorator_list if isinstance(decorator, ast.Call)]
    return next(filter(None, (_named(command, "epilog") for command in commands)), "")


def _named(call: ast.Call, name: str) -> str:
    return next(
        (
            str(keyword.value.value)
            for keyword in call.keywords
            if keyword.arg == name and isinstance(keyword.value, ast.Constant)
        ),
        "",
    )


def _names(call: ast.Call) -> list[str]:
    return [str(argument.value) for argument in call.args if isinstance(argument, ast.Constant)]


def _arguments(function: ast.FunctionDef) -> list[str]:
    found = []
    for call in _calls(function, "argument"):
        name = _names(call)[0].upper()
        # Which click puts into brackets by itself, unless it was told the word.
        optional = _named(call, "required") == "False" or _named(call, "default")
        found.append(_named(call, "metavar") or (f"[{name}]" if optional else name))
    return found


def _options(function: ast.FunctionDef) -> list[tuple[str, str]]:
    found = []
    for call in _calls(function, "option"):
        if _named(call, "hidden") != "True":
            metavar = "" if _named(call, "is_flag") else _named(call, "metavar") or "VALUE"
            found.append((f"{_names(call)[0]} {metavar}".rstrip(), _named(call, "help")))
    return found
