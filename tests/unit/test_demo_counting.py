"""What the demo counts: messages, labels, latency, agreement with the truth."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from disc_stream.data.types import UNLABELLED
from disc_stream.demo.counts import DeliveryCounts
from disc_stream.demo.notes import TruthNotes
from disc_stream.demo.truth import RecordedTruth, TruthComparison, TruthTape, majority_of
from disc_stream.types import NOT_WORN, UNKNOWN, Channel, Label, SampleBatch, SoftLabel, WindowSpec
from disc_stream_edge.publisher import Published

SPEC = WindowSpec(samples=8, hop=4, input_samples=4)
CHANNELS = (Channel("acc_x", "g"),)


def published(seq: int, *, device: str = "d1", boot: int = 1, n: int = 4, at: float = 0.0) -> Published:
    return Published(device, boot, seq, 0, n, 100, at, 0)


def batch(seq: int, *, device: str = "d1", boot: int = 1) -> SampleBatch:
    return SampleBatch(device, boot, seq, 0, 50.0, CHANNELS, np.zeros((4, 1), dtype=np.float32))


def label(
    window: int, *, device: str = "d1", boot: int = 1, t0_us: int = 0, raw: int = 0, smoothed: int = 0
) -> Label:
    best, after = SoftLabel(raw, f"cluster {raw}", 0.9), SoftLabel(smoothed, f"cluster {smoothed}", 0.8)
    return Label(device, boot, window, t0_us, 0, best, (best,), after, 1.0, None, "m", window, 0)


class TestTally:
    def test_nothing_lost(self) -> None:
        counts = DeliveryCounts(SPEC)
        for seq in range(5):
            counts.on_publish(published(seq, at=10.0 + seq))
            counts.on_batch(batch(seq))
            assert counts.receive(label(seq), 10.0 + seq + 0.25)
        assert counts.open == 0
        summary = counts.summary(5.0)
        assert summary["messages"] == {
            "sent": 5, "received": 5, "lost": 0, "duplicates": 0, "rejected": 0
        }  # fmt: skip
        assert summary["windows"] == 5
        assert summary["labels"] == {"expected": 5, "received": 5, "missing": 0, "duplicates": 0}
        assert summary["latency_ms"] == {"p50": 250.0, "p99": 250.0, "max": 250.0}
        assert summary["throughput"]["samples_per_s"] == 4.0

    def test_a_message_that_the_server_never_took_is_lost(self) -> None:
        counts = DeliveryCounts(SPEC)
        for seq in range(4):
            counts.on_publish(published(seq))
        for seq in (0, 1, 3):
            counts.on_batch(batch(seq))
        assert counts.summary(1.0)["messages"]["lost"] == 1

    def test_labels_are_told_apart_by_device_boot_and_window(self) -> None:
        counts = DeliveryCounts(SPEC)
        for device, boot in (("d1", 1), ("d1", 2), ("d2", 1)):
            for seq in range(3):
                counts.on_publish(published(seq, device=device, boot=boot))
            for window in (0, 2, 2, 0):  # 1 is missing, 2 and 0 come twice
                counts.receive(label(window, device=device, boot=boot), 1.0)
        labels = counts.summary(1.0)["labels"]
        assert labels == {"expected": 9, "received": 6, "missing": 3, "duplicates": 6}
        assert counts.summary(1.0)["devices"] == 2

    def test_an_unfinished_window_is_not_expected(self) -> None:
        counts = DeliveryCounts(SPEC)
        counts.on_publish(published(0, n=11))  # inputs of four samples end at 4, 8 and (not yet) 12
        assert counts.summary(1.0)["windows"] == 2

    def test_the_servers_own_counters_are_passed_on(self) -> None:
        counts = DeliveryCounts(SPEC)
        counts.on_status({"counters": {"duplicates": 3}, "rejected": {"truncated": 2, "topic": 1}})
        assert counts.summary(1.0)["messages"]["duplicates"] == 3
        assert counts.summary(1.0)["messages"]["rejected"] == 3

    def test_without_labels_there_is_no_latency(self) -> None:
        assert DeliveryCounts(SPEC).summary(1.0)["latency_ms"] is None

    def test_boots_that_were_not_published_live_count_nowhere(self) -> None:
        counts = DeliveryCounts(SPEC)
        counts.on_publish(published(0, boot=2))
        counts.on_batch(batch(0, boot=1))
        assert not counts.receive(label(0, boot=1), 1.0)
        assert counts.open == 2  # the message and its window, both of boot 2
        assert counts.summary(1.0)["labels"]["duplicates"] == 0

    def test_three_threads_at_once(self) -> None:
        counts = DeliveryCounts(SPEC)
        n = 2_000
        counts.on_publish(published(0))  # a message comes nowhere before it is published
        work = (
            lambda: [counts.on_publish(published(seq)) for seq in range(1, n)],
            lambda: [counts.on_batch(batch(seq)) for seq in range(n)],
            lambda: [counts.receive(label(window), 1.0) for window in range(n)],
        )
        threads = [threading.Thread(target=job) for job in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts.open == 0
        assert counts.summary(1.0)["labels"]["received"] == n


class TestTruth:
    def test_the_majority_of_a_window(self) -> None:
        tape = TruthTape(start_us=1_000_000, fs=10.0)
        tape.append(np.repeat(np.array([0, 1, 2], dtype=np.int16), 10))
        assert tape.majority(1_000_000, 10) == 0
        assert tape.majority(1_700_000, 10) == 1  # three samples of 0, seven of 1
        assert tape.majority(3_100_000, 10) is None  # has not all happened yet
        tape.append(np.full(10, 2, dtype=np.int16))
        assert tape.majority(3_100_000, 10) == 2

    def test_a_tape_forgets_after_a_quarter_of_an_hour_and_says_so(self) -> None:
        tape = TruthTape(start_us=0, fs=10.0)
        for minute in range(20):
            tape.append(np.full(600, minute, dtype=np.int16))
        assert tape.majority(0, 10) == UNLABELLED
        assert tape.majority(19 * 60_000_000, 10) == 19
        assert tape.majority(6 * 60_000_000, 10) == 6

    def test_a_recordings_own_labels(self) -> None:
        truth = RecordedTruth(np.array([3] * 10 + [UNLABELLED] * 10, dtype=np.int16), fs=10.0)
        assert truth.majority(0, 8) == 3
        assert truth.majority(800_000, 8) == UNLABELLED
        assert truth.majority(1_500_000, 8) == UNLABELLED  # goes beyond the end

    def test_mostly_unlabelled_is_unlabelled(self) -> None:
        assert majority_of(np.array([1, UNLABELLED, UNLABELLED], dtype=np.int16)) == UNLABELLED
        assert majority_of(np.array([1, 1, UNLABELLED], dtype=np.int16)) == 1


class TestTruthComparison:
    def fill(self, labels: list[tuple[int, int, int]]) -> tuple[TruthComparison, TruthTape]:
        """Windows with (truth, raw, smoothed)."""
        comparison = TruthComparison(n_activities=3, window=8)
        tape = TruthTape(start_us=0, fs=1.0)
        comparison.follow({"d1": tape})
        for window, (truth, raw, smoothed) in enumerate(labels):
            tape.append(np.full(8, truth, dtype=np.int16))
            comparison.add(label(window, t0_us=window * 8_000_000, raw=raw, smoothed=smoothed))
        return comparison, tape

    def test_clusters_that_are_only_numbered_otherwise_agree_fully(self) -> None:
        comparison, _ = self.fill([(0, 2, 1), (1, 0, 1), (2, 1, 1), (0, 2, 1), (1, 0, 1), (2, 1, 1)])
        summary = comparison.summary()
        assert summary is not None
        assert summary["windows"] == 6
        assert summary["raw"] == {"acc": 1.0, "nmi": 1.0, "ari": 1.0}
        assert summary["smoothed"]["nmi"] == 0.0  # one cluster for everything says nothing
        assert summary["smoothed"]["acc"] == pytest.approx(1 / 3, abs=1e-4)

    def test_a_label_waits_until_its_whole_window_has_happened(self) -> None:
        comparison, tape = self.fill([(0, 1, 1)])
        comparison.add(label(1, t0_us=4_000_000, raw=1, smoothed=1))
        assert comparison.raw.windows == 1
        tape.append(np.full(4, 0, dtype=np.int16))
        comparison.add(label(2, t0_us=8_000_000, raw=1, smoothed=1))
        assert comparison.raw.windows == 2

    def test_ids_of_any_size_and_the_two_states_are_groups_of_their_own(self) -> None:
        ids = [4_000_000_000, UNKNOWN, NOT_WORN, *range(40)]
        comparison, _ = self.fill([(0, one, one) for one in ids])
        assert comparison.raw.windows == len(ids)
        assert [comparison.raw.of(one)[0] for one in ids] == [1] * len(ids)
        assert not comparison.raw.of(77).any()

    def test_who_wants_it_is_told_of_each_window_once_it_was_compared(self) -> None:
        told: list[tuple[int, int]] = []
        comparison = TruthComparison(n_activities=3, window=8)
        comparison.tell = lambda truth, label: told.append((truth, label.window))
        tape = TruthTape(start_us=0, fs=1.0)
        comparison.follow({"d1": tape})
        comparison.add(label(0, t0_us=0))
        assert told == []
        tape.append(np.full(16, 2, dtype=np.int16))
        comparison.add(label(1, t0_us=8_000_000))
        assert told == [(2, 0), (2, 1)]

    def test_nothing_compared_is_no_score(self) -> None:
        assert TruthComparison(n_activities=2, window=8).summary() is None

    def test_notes_say_whose_word_it_is_and_wait_for_enough_windows(self) -> None:
        comparison, tape = self.fill([(1, 2, 2)] * 4)
        notes = TruthNotes(comparison, ["sitting", "STAIRS_UP", "lying"], "simulator", input_samples=4)
        now = label(3, t0_us=24_000_000, raw=2, smoothed=2)
        assert notes.page_note(now) == "simulator: stairs up"
        tape.append(np.full(16, 1, dtype=np.int16))
        comparison.add(label(4, t0_us=32_000_000, raw=2, smoothed=2))
        assert notes.page_note(now) == "simulator: stairs up. cluster 2 agrees: it is mostly stairs up"
        tape.append(np.full(8, 0, dtype=np.int16))
        later = label(6, t0_us=48_000_000, raw=2, smoothed=2)
        assert notes.page_note(later) == "simulator: sitting. cluster 2 differs: it is mostly stairs up"
        notes.add(later)
        assert notes.by_device == {"d1": "sitting (differs)"}
