"""The sampling rate of a device: what it declares, checked against its own clock.

A declared rate is smoothed, so that one that varies a little from batch to batch is one rate. It is checked
against the device times of the batches: n samples should take n / fs. Device times are often stamps of an
arrival (over Bluetooth, say), off by tenths of a second, so a rate is only given up on evidence that stamps
within ±200 ms of the truth cannot produce:

==================  =========================================================================================
found by            evidence
==================  =========================================================================================
a run of outliers   4 neighbouring blocks that each differ from the rate in use by more than 450 ms and 8 %
                    (1 s where all stamps are whole seconds) and lie within ±25 % of their median
accumulation        4 to 8 equal blocks of 1, 4, 16 or 64 units, within ±25 % of their median, that together
                    differ by 8 %, or by 2 % over 60 s; with the largest difference left out, the others still
                    add up to more than 450 ms for every piece that gaps cut them into
==================  =========================================================================================

A block is at least 400 ms of device time: one batch, or several short ones. A single outlier is a gap or a
late stamp and is left out. After a long step, steps that are short catch up and are no evidence. Steps beyond
1/8.5 to 8.5 of the declared rate are of a clock at fault (stopped, or in another unit) and are no evidence
either.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MAX_RATIO = 8.5
"""Largest ratio of a measured rate to the declared one, either way."""

_SLACK = 4.0  # by how much a single short block may exceed that: stamps vary
_BLOCK_US = 400_000  # shortest block
_EVEN_UNTIL_US = 3_000_000  # of a block, while steps are as expected
_LONG_BLOCK_US, _EVEN = 4_000_000, 0.01  # longest, of steps that are as expected within so much
_JITTER_US = 450_000  # more than two stamps within ±200 ms can be apart from their truth
_JITTER_SECONDS_US = 999_990  # the same for stamps in whole seconds
_OUTLIER_US, _OUTLIER_SECONDS_US = 450_000, 1_000_000
_OUTLIER = 0.08  # of the expected time
_WRONG = 0.08  # relative difference that is believed as soon as jitter cannot explain it,
_DRIFT, _DRIFT_US = 0.02, 60_000_000  # and one that is believed after a minute
_DECLARED_BAND = 0.015  # a measured rate that near to the declared one is the declared one
_REGULAR = 0.25  # of the median
_RUN = 4  # outliers in a row that are a rate
_GROUP, _MAX_BLOCKS, _LEVELS = 4, 8, 4
_MAX_LAG_US = 120_000_000
_LAG_FORGOTTEN = 8  # blocks as expected, after which a long step is taken for a gap
_BACKWARD_US = -1_000_000
_TREND = 1 / 32  # weight of a batch in the smoothed declared rate
_TREND_AFTER = 16  # batches
_HYSTERESIS = 0.0125  # the smoothed declared rate moves by more, before it is followed
_JUMP = 0.04  # a declared rate that differs by more is another rate
_STEADY = 4  # batches with one declared rate, before a jump is followed at once


class RateVerdict(NamedTuple):
    """The rate of a batch.

    Args:
        fs: rate in use, in Hz.
        changed: whether it differs from the one before by more than 1 %: windows and resampling begin anew.
        contested: whether the device's times contradict it and no other rate has been found yet.
        differs: whether it was measured and differs from the declared one.
    """

    fs: float
    changed: bool
    contested: bool
    differs: bool


class Block(NamedTuple):
    """Samples, the device time they took in µs, and how many gaps were left out before or in them."""

    n: int
    us: int
    gaps: int


class RateEstimator:
    """The rate of a device in one boot. It has no time source of its own."""

    __slots__ = (
        "_calm", "_contested", "_declared", "_fs", "_gaps", "_in_step", "_jumped", "_lag_us", "_last_n",
        "_levels", "_measured", "_n", "_run", "_seen", "_since", "_steady", "_trusted", "_us", "_verdict",
        "_whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self._fs = 0.0  # in use, Hz; 0 before the first batch
        self._measured = self._contested = False
        self._last_n = 0  # samples of the last batch
        self._verdict = RateVerdict(0.0, False, False, False)  # of a batch that changes nothing
        # -- what is declared
        self._declared = 0.0  # smoothed, Hz
        self._seen = 0  # batches in it
        self._calm = _STEADY  # batches since it jumped last
        self._jumped = 0.0  # a rate that is declared now and not believed yet,
        self._steady = 0  # and for how many batches in a row
        # -- what the clock says
        self._trusted = False  # whether the clock has confirmed the rate in use
        self._whole = True  # whether all steps are whole seconds
        self._n = self._us = self._gaps = 0  # the block in progress
        self._run: list[Block] = []  # outliers in a row
        self._lag_us = 0  # by how much long steps were too long, as far as short ones have not caught up
        self._in_step = 0  # blocks as expected, in a row
        self._levels: list[list[Block]] = [[]]  # the newest blocks of 1, 4, 16 and 64 units
        self._since = [0] * _LEVELS  # blocks since a level last passed a group on to the next

    @property
    def fs(self) -> float:
        """Rate in use, in Hz; 0 before the first batch."""
        return self._fs

    def observe(self, declared: float, n_samples: int, step_us: float | None) -> RateVerdict:
        """Take the next batch of the boot, in order.

        Args:
            declared: its rate in Hz as the device says, above 0.
            n_samples: of the batch.
            step_us: device time from the first sample of the batch before to its own, in µs; None where
                batches are missing between them or the clock was set.
        """
        if self._trusted and step_us is not None and self._goes_on(declared, n_samples, step_us):
            return self._verdict
        before = self._fs
        if not before:
            self._fs = self._declared = declared
        elif step_us is None:
            self._break()
        else:
            self._step(round(step_us))
        self._follow(declared)
        self._last_n = n_samples
        changed = bool(before) and abs(self._fs - before) > 0.01 * before
        verdict = RateVerdict(self._fs, changed, self._contested, self._measured)
        self._verdict = RateVerdict(self._fs, False, self._contested, self._measured)
        return verdict

    def _goes_on(self, declared: float, n_samples: int, step_us: float) -> bool:
        """Whether all is as it was: most batches of most devices, and nothing but sums has to be kept."""
        if declared != self._declared or self._run or self._us >= _EVEN_UNTIL_US:
            return False
        n = self._last_n
        period_us = n * 1e6 / self._fs
        if not -_EVEN * period_us <= step_us - period_us <= _EVEN * period_us:
            return False
        self._n += n
        self._us += round(step_us)
        self._whole = self._whole and step_us % 1_000_000 == 0
        self._last_n = n_samples
        self._seen, self._calm, self._steady = self._seen + 1, self._calm + 1, 0
        return True

    # -- the declared rate ------------------------------------------------------------------------------

    def _follow(self, declared: float) -> None:
        """Smooth what is declared."""
        if abs(declared - self._declared) > _JUMP * self._declared:
            self._jump(declared)
            return
        self._steady = 0
        self._seen, self._calm = self._seen + 1, self._calm + 1
        if declared != self._declared:
            self._declared += (declared - self._declared) * max(_TREND, 1 / self._seen)
        off = abs(self._declared - self._fs)
        if off > _HYSTERESIS * self._fs and self._seen >= _TREND_AFTER and not self._measured:
            self._use(self._declared, measured=False)

    def _jump(self, declared: float) -> None:
        """Another rate is declared: it is used at once, unless that happens often."""
        alike = self._steady > 0 and abs(declared - self._jumped) <= _JUMP * self._jumped
        self._steady = self._steady + 1 if alike else 1
        self._jumped = declared
        if self._calm >= _STEADY or self._steady >= _STEADY:
            self._declared, self._seen, self._steady = declared, 1, 0
            self._use(declared, measured=False)
            self._trusted = False
        self._calm = 0

    # -- the device's times -----------------------------------------------------------------------------

    def _step(self, step_us: int) -> None:
        expected_us = self._last_n * 1e6 / self._declared
        if not _BACKWARD_US < step_us <= MAX_RATIO * max(expected_us, _BLOCK_US):
            if step_us > 0:
                self._note_lag(step_us - self._last_n * 1e6 / self._fs)
            self._break()
            return
        self._whole = self._whole and step_us % 1_000_000 == 0
        period_us = self._last_n * 1e6 / self._fs
        even = self._trusted and abs(step_us - period_us) <= _EVEN * period_us
        if self._us >= _BLOCK_US and not even:
            self._end_block()
        self._n += self._last_n
        self._us += step_us
        if self._us >= (_LONG_BLOCK_US if even and not self._run else _BLOCK_US):
            self._end_block()
        elif self._n * 1e6 / self._declared > _SLACK * MAX_RATIO * _BLOCK_US:  # a clock that stands still
            self._note_lag(self._us - self._n * 1e6 / self._fs)
            self._break()

    def _end_block(self) -> None:
        block = Block(self._n, self._us, self._gaps)
        self._n = self._us = self._gaps = 0
        self._take(block)

    def _break(self) -> None:
        """What came before and what comes now are not neighbours."""
        self._n = self._us = 0
        self._gaps += 1 + len(self._run)
        self._run.clear()
        if self._trusted:
            self._contested = False

    def _note_lag(self, excess_us: float) -> None:
        self._in_step = 0
        self._lag_us = round(min(max(0, self._lag_us + excess_us), _MAX_LAG_US))

    def _take(self, block: Block) -> None:
        expected_us = block.n * 1e6 / self._fs
        excess_us = block.us - expected_us
        least_us = _OUTLIER_SECONDS_US if self._whole else _OUTLIER_US
        if abs(excess_us) >= max(least_us, _OUTLIER * expected_us):
            self._take_outlier(block, excess_us)
            return
        self._in_step += 1
        if self._in_step >= _LAG_FORGOTTEN:
            self._lag_us = 0
        if self._run:
            block = block._replace(gaps=block.gaps + len(self._run))
            self._run.clear()
        self._contested = False
        self._push(0, block)

    def _take_outlier(self, block: Block, excess_us: float) -> None:
        """A gap, a late stamp, or one of several that show another rate."""
        behind = self._lag_us > 0 and excess_us < 0
        self._note_lag(excess_us)
        if behind or not self._in_range(block.n * 1e6 / block.us, _SLACK):
            self._gaps = block.gaps
            self._break()
            return
        if self._run and not _regular([*self._run, block]):
            self._run.clear()
        self._run.append(block)
        self._contested = not self._trusted or len(self._run) > 1
        if len(self._run) >= _RUN:
            self._settle(self._run)

    def _push(self, level: int, block: Block) -> None:
        """Add a block to a level, judge it, and pass every group of four on to the next."""
        if level == len(self._levels):
            self._levels.append([])
        blocks = self._levels[level]
        blocks.append(block)
        if len(blocks) > _MAX_BLOCKS:
            del blocks[0]
        since = self._since[level] = self._since[level] % _GROUP + 1
        if self._trusted and since < _GROUP:  # it has time: judge once a group
            return
        if self._judge(blocks[-_GROUP:]) or (len(blocks) > _GROUP and self._judge(blocks)):
            return
        if since == _GROUP and level + 1 < _LEVELS:
            self._push(level + 1, _sum(blocks[-_GROUP:]))

    def _judge(self, blocks: list[Block]) -> bool:
        """Whether blocks have given another rate."""
        n, total_us, gaps = _sum(blocks)
        expected_us = n * 1e6 / self._fs
        sum_us = total_us - expected_us
        off = abs(sum_us) / expected_us
        pieces = 1 + gaps
        allowed_us = pieces * (_JITTER_SECONDS_US if self._whole else _JITTER_US)
        if abs(sum_us) <= allowed_us:
            self._trusted = self._trusted or (len(blocks) >= _GROUP and off < _WRONG)
            return False
        # How far the rate in use is off, whichever block is left out.
        excess = [one.us - one.n * 1e6 / self._fs for one in blocks]
        beyond_us = sum_us - max(excess) if sum_us > 0 else min(excess) - sum_us
        wrong = off >= _WRONG
        if beyond_us <= allowed_us or not _regular(blocks):
            self._contested = self._contested or (wrong and not self._trusted)
            return False
        if len(blocks) >= _GROUP and beyond_us > allowed_us * (pieces + 1) / pieces:
            if wrong or (off >= _DRIFT and total_us >= _DRIFT_US):
                return self._settle(blocks)
        elif wrong:
            self._contested = True
        return False

    def _settle(self, blocks: list[Block]) -> bool:
        """Use the rate that blocks show; whether it is another one."""
        n, us, _ = _sum(blocks)
        fs = n * 1e6 / us
        if not self._in_range(fs):
            return False
        near = abs(fs - self._declared) <= _DECLARED_BAND * self._declared
        self._use(self._declared if near else fs, measured=not near)
        self._trusted = True
        return True

    def _in_range(self, fs: float, slack: float = 1.0) -> bool:
        return self._declared <= slack * MAX_RATIO * fs and fs <= slack * MAX_RATIO * self._declared

    def _use(self, fs: float, *, measured: bool) -> None:
        """Change the rate in use: the evidence was about the one before."""
        self._fs, self._measured, self._contested = fs, measured, False
        self._run.clear()
        self._levels = [[]]
        self._since = [0] * _LEVELS
        self._n = self._us = self._gaps = self._lag_us = self._in_step = 0

    # -- saved state ------------------------------------------------------------------------------------

    def state(self) -> tuple[Any, ...]:
        """Everything as plain values, for ``restore``."""
        return (
            self._fs, self._measured, self._contested, self._last_n, self._declared, self._seen, self._calm,
            self._jumped, self._steady, self._trusted, self._whole, self._n, self._us, self._gaps,
            self._lag_us, self._in_step, tuple(self._run), tuple(self._since),
            tuple(map(tuple, self._levels)),
        )  # fmt: skip

    def restore(self, state: tuple[Any, ...]) -> None:
        """Continue where ``state`` was taken."""
        (
            self._fs, self._measured, self._contested, self._last_n, self._declared, self._seen, self._calm,
            self._jumped, self._steady, self._trusted, self._whole, self._n, self._us, self._gaps,
            self._lag_us, self._in_step, run, since, levels,
        ) = state  # fmt: skip
        self._verdict = RateVerdict(self._fs, False, self._contested, self._measured)
        self._run = [Block(*one) for one in run]
        self._since = list(since)
        self._levels = [[Block(*one) for one in blocks] for blocks in levels]


def _sum(blocks: list[Block]) -> Block:
    n = us = gaps = 0
    for one in blocks:
        n, us, gaps = n + one[0], us + one[1], gaps + one[2]
    return Block(n, us, gaps)


def _regular(blocks: list[Block]) -> bool:
    """Whether the time a sample takes is alike in all blocks."""
    periods = sorted(one.us / one.n for one in blocks)
    middle = (periods[(len(periods) - 1) // 2] + periods[len(periods) // 2]) / 2
    return periods[0] >= (1 - _REGULAR) * middle and periods[-1] <= (1 + _REGULAR) * middle
