"""Counting votes (acceptance.md, Counting)."""

from dataclasses import dataclass

MAX_STEPS = 65_536


@dataclass(frozen=True)
class Vote:
    """One accepted piece of evidence: what it can fill, and by what it clashes with others."""

    slots: frozenset[int]
    key_id: bytes
    signature: bytes
    who: tuple[str, str] | None

    def clashes(self, other: "Vote") -> bool:
        """Say whether two votes are of one party or one signature."""
        return (
            self.key_id == other.key_id
            or self.signature == other.signature
            or (self.who is not None and self.who == other.who)
        )


def filled(votes: list[Vote], slots: int) -> int:
    """The number of slots that the largest matching fills, found within `MAX_STEPS`."""
    usable = sorted({vote for vote in votes if vote.slots}, key=lambda vote: (
        len(vote.slots), vote.key_id, vote.signature))
    best = 0
    steps = 0

    def search(slot: int, taken: list[Vote]) -> None:
        """Fill the slots from this one on in each way, also by leaving it empty."""
        nonlocal best, steps
        steps += 1
        best = max(best, len(taken))
        if steps > MAX_STEPS or len(taken) + slots - slot <= best:
            return
        for vote in usable:
            if slot in vote.slots and not any(vote.clashes(other) for other in taken):
                search(slot + 1, [*taken, vote])
        search(slot + 1, taken)

    search(0, [])
    return best
