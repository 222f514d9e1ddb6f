"""What is fuzzed: for each format its examples, the public reader, and the errors that its documentation names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st

Example = tuple[str, bytes]  # what kind of file of the format, and its bytes
NO_MEMORY = ("bad_alloc", "allocate memory", "not enough memory", "Cannot allocate")


class Format(ABC):
    """Files of one kind. ``folder`` holds what the readers need besides the file that is fuzzed."""

    name: ClassVar[str]
    errors: ClassVar[tuple[type[Exception], ...]]  # these classes themselves: a bare UnicodeError is a ValueError too
    names: ClassVar[bool] = True  # whether messages name the file
    escapes: ClassVar[bool] = True  # whether messages show foreign text escaped; else whoever prints them does it

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def examples(self) -> st.SearchStrategy[Example]:
        """Valid files and damaged ones."""

    @abstractmethod
    def read(self, kind: str, data: bytes) -> Any:
        """Read the file by public functions; may raise the documented errors."""

    def use(self, found: Any) -> None:  # noqa: B027 - not every format has a use
        """Use what was accepted; any exception is a fault."""

    def attempt(self, example: Example) -> str:
        """``"accepted"``, or the name of the documented error; any other exception is raised."""
        try:
            found = self.read(*example)
        except self.errors as error:
            if type(error) not in self.errors:
                raise
            self._check_refusal(error)
            return type(error).__name__
        self.use(found)
        return "accepted"

    def _check_refusal(self, error: Exception) -> None:
        cause: BaseException | None = error
        while cause is not None:  # a documented error must not hide that the memory was exhausted
            assert not isinstance(cause, MemoryError), repr(cause)
            assert not any(words in str(cause) for words in NO_MEMORY), repr(cause)
            cause = cause.__cause__ or cause.__context__
        text = str(error)
        assert str(self.folder) in text or not self.names, text
        assert not self.escapes or text.isprintable(), ascii(text)
