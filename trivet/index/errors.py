"""Why an index cannot be used. Each message names the file and says what helps."""

from trivet.errors import TrivetError


class IndexFileError(TrivetError):
    """Base of what is wrong with an index."""


class NotAnIndex(IndexFileError):
    """The file is something else, or an index of another version of Trivet. It was left as it is."""


class IndexDamaged(IndexFileError):
    """The file is an index, and part of it cannot be read."""


class OtherModel(IndexFileError):
    """The vectors in the index are of another model, revision or length than those that it is to be used with."""


class OtherForm(IndexFileError):
    """The index keeps its vectors in another form than the one that was asked for."""


class IndexInUse(IndexFileError):
    """Another process writes to the index."""


class IndexUnavailable(IndexFileError):
    """The index cannot be read or written now, for a reason outside of its content: a lock, or a full disk."""
