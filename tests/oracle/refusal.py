"""The two ways in which a judgement ends early."""


class Refused(Exception):
    """One piece of evidence does not count; the text says why in a short line."""


class Unusable(Exception):
    """The policy or the trusted root cannot be used: exit code 2 (acceptance.md, Verbs)."""
