"""What a run or a manifest says of the size of its network, and how well it agrees with its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disc_stream.artifacts.catalogue import PrintableText

METRIC = "size"
"""Its name among the metrics: as one of them it is read by versions that do not know it, too."""

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Amount = Annotated[float, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Agreement(_Frozen):
    """With the teacher, on windows of people that the network did not learn from."""

    half: _Share = Field(description="share with the teacher's label, from half a window")
    whole: _Share = Field(description="the same, from the whole window")
    windows: _Count
    people: _Count
    floor: _Share = Field(description="what was asked for")

    @property
    def least(self) -> float:
        """Of both lengths."""
        return min(self.half, self.whole)

    def __str__(self) -> str:
        below = ", BELOW IT" if self.least < self.floor else ""
        people = "person" if self.people == 1 else "people"
        return (
            f"{self.half:.1%} from half a window, {self.whole:.1%} from the whole, with the teacher's labels "
            f"of {self.windows:,} windows of {self.people} {people} held out (floor {self.floor:.0%}{below})"
        )


class Multiplications(_Frozen):
    """Million multiply-adds of the matrix products."""

    half: _Amount = Field(description="for half a window")
    whole: _Amount = Field(description="for a whole window")


class SizeInfo(_Frozen):
    """The size of a network; ``str`` of it is for people."""

    name: PrintableText = Field(max_length=40, description="one of those that `train` knows")
    weights_kib: _Amount = Field(description="of the encoder's weights in float32")
    mmac: Multiplications
    agreement: Agreement | None = Field(
        default=None, description="None of the default size, larger ones, or if not measured"
    )

    def __str__(self) -> str:
        return (
            f"{self.name}, {self.weights_kib:.1f} KiB of weights, "
            f"{self.mmac.half:.3f} MMAC for half a window and {self.mmac.whole:.3f} for a whole one"
        )

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> SizeInfo | None:
        """From the metrics of a run or a manifest; None if they do not say, or not in a form known here."""
        try:
            return cls.model_validate(metrics[METRIC])
        except (KeyError, ValidationError):
            return None
