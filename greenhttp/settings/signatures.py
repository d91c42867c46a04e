"""What a function can be called with, whatever its annotations are.

Since CPython 3.14 they are evaluated when somebody asks for them, and `inspect.signature` does. Names that are imported
for type checkers alone would be NameErrors then; as text they are none.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any


def signature(call: Callable[..., Any], follow_wrapped: bool = True) -> inspect.Signature:
    """As `inspect.signature`; annotations may be text. Raises TypeError and ValueError as that does."""
    if sys.version_info >= (3, 14):
        import annotationlib

        text = annotationlib.Format.STRING
        return inspect.signature(call, follow_wrapped=follow_wrapped, annotation_format=text)
    return inspect.signature(call, follow_wrapped=follow_wrapped)
