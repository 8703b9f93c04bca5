"""The one exception that is shown to a user without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend. The message says what is wrong, where, and what to do next."""
