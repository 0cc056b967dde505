"""Recordings as loggers and people write them: small files with a known truth, one for each kind of fault."""

from tests.support.written.base import NAMES, UNITS, Case, Expected, motion
from tests.support.written.dialects import DIALECTS
from tests.support.written.faults import FAULTS
from tests.support.written.folders import FOLDERS
from tests.support.written.loggers import LOGGERS

__all__ = ["CASES", "NAMES", "UNITS", "Case", "Expected", "motion"]

CASES: dict[str, Case] = {**LOGGERS, **DIALECTS, **FAULTS, **FOLDERS}
