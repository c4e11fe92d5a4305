"""Help before anything is installed: what build.py says of its verbs, read out of it."""

import ast
from collections.abc import Sequence

from builder.core import paths
from builder.core.errors import BuildError

# Options that say nothing without another one of their verb,
_NEEDS = {
    ("cache", "--yes"): "--clear",
    ("test", "--seed"): "--mutate",
    ("test", "--within"): "--mutate",
    ("test", "--json"): "--mutate",
}
# those beside which others say nothing,
_ALONE = {
    ("check", "--board"): ("--thorough", "--keep-failed", "--sign", "--accel"),
    ("repo", "--prepare"): ("--url",),
    ("repo", "--finish"): ("--key", "--keep"),
    ("test", "--mutate"): ("--thorough",),
}
# and those that are for some of their verb's first words alone.
_CHANGES = ("make", "add", "remove")
_OF_WORDS = {
    ("fleet", "--kind"): ("add",),
    ("fleet", "--address"): ("add",),
    ("fleet", "--through"): ("status",),
    ("fleet", "--identity"): _CHANGES,
    ("fleet", "--out"): (*_CHANGES, "status"),
    ("fleet", "--json"): (*_CHANGES, "status"),
}


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


def wrong(verb: str, arguments: Sequence[str]) -> str:
    """What can't be right in a command line, by the options and the number of arguments; empty if all may be.

    :param arguments: of build.py, the verb among them.
    """
    function = _functions()[verb]
    given, options, mistake = _read(verb, arguments)
    if mistake:
        return mistake
    takes = _calls(function, "argument")
    if len(given) < sum(not _is_optional(call) for call in takes):
        return f"{verb} needs more: {' '.join(_arguments(function))}"
    if len(given) > len(takes) and not any(_takes_any(call) for call in takes):
        return f"{verb} takes no more than {len(takes)} arguments"
    chosen = [*zip(takes, given, strict=False)]
    chosen += [
        (call, word) for call in _calls(function, "option") for word in options.get(_names(call)[0], [])
    ]
    for call, word in chosen:
        choices = _choices(call)
        if choices and word not in choices.split("|"):
            return f"{word!r} is none of {choices}"
    return ""


def refuse_what_says_nothing(verb: str, arguments: Sequence[str]) -> None:
    """See that no option would be ignored. Arguments as of :func:`wrong`.

    :raises BuildError: one would.
    """
    words, options, _ = _read(verb, arguments)
    for option in options:
        other = _NEEDS.get((verb, option))
        if other and other not in options:
            raise BuildError(f"{option} says nothing without {other}", f"Leave it out, or add {other}")
        for beside in _ALONE.get((verb, option), ()):
            if beside in options:
                raise BuildError(f"{option} and {beside} mean nothing together", "Leave one of them out")
        word = words[0] if words else ""
        if word not in _OF_WORDS.get((verb, option), (word,)):
            raise BuildError(f"{verb} {word} takes no {option}", "Leave it out")


def given(verb: str, arguments: Sequence[str]) -> list[str]:
    """What a verb is given that is no option and no option's value. Arguments as of :func:`wrong`."""
    return _read(verb, arguments)[0]


def values(verb: str, arguments: Sequence[str], option: str) -> list[str]:
    """What an option is given, each time that it is named. Arguments as of :func:`wrong`."""
    return _read(verb, arguments)[1].get(option, [])


def _read(verb: str, arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]], str]:
    """The words, the options' values, and what is wrong."""
    known = {"--debug": False}
    found: list[str] | None = None
    options: dict[str, list[str]] = {}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if found is None and word == verb:
            found = []
            calls = _calls(_functions()[verb], "option")
            known = {_names(call)[0]: not _named(call, "is_flag") for call in calls}
        elif word == "--":
            found = [*(found or []), *words]
        elif not word.startswith("-") or word == "-":
            found = [*(found or []), word]
        elif name not in known:
            return found or [], options, f"there is no option {name}"
        elif not known[name]:
            options.setdefault(name, [])
        else:
            taken = value if equals else next(words, None)
            if taken is None:
                return found or [], options, f"{name} needs a value"
            options.setdefault(name, []).append(taken)
    return found or [], options, ""


def _functions() -> dict[str, ast.FunctionDef]:
    tree = ast.parse((paths.ROOT / "build.py").read_text(encoding="utf-8"))
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator).startswith("main.command") for decorator in node.decorator_list)
    }


def _shared() -> dict[str, ast.expr]:
    """What several verbs have, by the name that it was given."""
    tree = ast.parse((paths.ROOT / "build.py").read_text(encoding="utf-8"))
    return {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}


def _calls(function: ast.FunctionDef, kind: str) -> list[ast.Call]:
    shared = _shared()
    decorators = [shared.get(ast.unparse(decorator), decorator) for decorator in function.decorator_list]
    return [
        decorator
        for decorator in decorators
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
        choices = _choices(call)
        name = f"{{{choices}}}" if choices else name
        found.append(_named(call, "metavar") or (f"[{name}]" if _is_optional(call) else name))
    return found


def _is_optional(argument: ast.Call) -> bool:
    default = _named(argument, "default")
    return bool(default) or _named(argument, "required") == "False" or _takes_any(argument)


def _takes_any(argument: ast.Call) -> bool:
    """Whether it may be given any number of times."""
    return any(keyword.arg == "nargs" for keyword in argument.keywords)


def _choices(call: ast.Call) -> str:
    """What may be given, as click has it: ``a|b``. Empty where that is not written out."""
    for keyword in call.keywords:
        value = keyword.value
        if keyword.arg == "type" and isinstance(value, ast.Call) and value.args:
            words = value.args[0].elts if isinstance(value.args[0], ast.List) else []
            return "|".join(str(word.value) for word in words if isinstance(word, ast.Constant))
    return ""


def _options(function: ast.FunctionDef) -> list[tuple[str, str]]:
    found = []
    for call in _calls(function, "option"):
        if _named(call, "hidden") != "True":
            choices = _choices(call)
            value = f"[{choices}]" if choices else "VALUE"
            metavar = "" if _named(call, "is_flag") else _named(call, "metavar") or value
            found.append((f"{_names(call)[0]} {metavar}".rstrip(), _named(call, "help")))
    return found
