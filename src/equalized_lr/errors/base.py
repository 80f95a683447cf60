"""The base of all errors, which fills the facts of a case into the text of its class."""

import inspect
from string import Formatter
from typing import Any, ClassVar


class EqualizedLRError(Exception):
    """The base of all errors of this library.

    Each subclass has a `text` with named fields: what was given, where, why it cannot be used, and
    what to do. It is the docstring of the class, too. An error is built from its facts, in the
    order in which the fields first appear. `{scale:.3g}` and `{value!r}` work as in `str.format`,
    `{kind:a}` puts "a" or "an" before a name, and a list is shown with commas.

    Example:
        >>> class LostKey(EqualizedLRError, KeyError):
        ...     text = "{key!r} is lost. Known keys are: {known}."
        >>> LostKey("a", ["b", "c"]).args
        ("'a' is lost. Known keys are: b, c.",)

    Raises:
        TypeError: there are more or fewer facts than fields.
    """

    text: ClassVar[str] = "{message}"

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or inspect.cleandoc(cls.text)

    def __init__(self, *facts: object) -> None:
        fields = self.fields()
        if len(facts) != len(fields):
            expected = ", ".join(fields) or "nothing"
            raise TypeError(f"{type(self).__name__} takes {expected}, got {len(facts)} fact(s)")
        template = " ".join(self.text.split())
        super().__init__(_Sentences().vformat(template, (), dict(zip(fields, facts, strict=True))))

    @classmethod
    def fields(cls) -> list[str]:
        """The names of the facts, in the order of their first appearance in the text."""
        return list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(cls.text) if name))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self).__new__, (type(self), str(self)), self.__dict__


class _Sentences(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "a":
            return f"{'an' if str(value)[:1] in 'AEIOUaeiou' else 'a'} {value}"
        if isinstance(value, list):
            return ", ".join(map(str, value)) or "none"
        return str(super().format_field(value, format_spec))
