"""The one exception a step raises when a person has to act."""


class StepError(Exception):
    """A step cannot do its work: what is wrong, where it is, and what to do about it."""

    def __init__(self, what: str, where: str = "", do: str = "") -> None:
        super().__init__(what, where, do)
        self.what = what
        self.where = where
        self.do = do

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  → {self.do}" if self.do else head
