//! Where in a log the records begin that may not be synced. Coarse, so that a long log costs little memory.

use std::collections::VecDeque;

use super::layout::RecordHeader;
use super::RecordNumber;

/// How finely the place is remembered.
const MARK_EVERY_BYTES: u64 = 64 << 10;

struct Mark {
    number: RecordNumber,
    /// Of the segment.
    sequence: u64,
    offset: u64,
}

/// Marks of one log. From the first on there may be records that no later one knows to be synced.
#[derive(Default)]
pub(super) struct Marks {
    marks: VecDeque<Mark>,
}

impl Marks {
    pub fn clear(&mut self) {
        self.marks.clear();
    }

    /// Takes notice of the log's next record.
    pub fn note(&mut self, record: &RecordHeader, offset: u64) {
        let is_near = |last: &Mark| {
            last.sequence == record.sequence && offset < last.offset + MARK_EVERY_BYTES
        };
        if !self.marks.back().is_some_and(is_near) {
            let (number, sequence) = (record.number, record.sequence);
            self.marks.push_back(Mark {
                number,
                sequence,
                offset,
            });
        }
        while self
            .marks
            .get(1)
            .is_some_and(|second| second.number <= record.synced_through)
        {
            self.marks.pop_front();
        }
    }

    /// From where on a segment may hold unsynced records; none if all are synced.
    pub fn first_in(&self, sequence: u64) -> Option<u64> {
        self.marks
            .iter()
            .find(|mark| mark.sequence == sequence)
            .map(|mark| mark.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::RecordKind;
    use super::*;

    fn record(number: u64, synced_through: u64, sequence: u64) -> RecordHeader {
        RecordHeader {
            len: 48,
            sequence,
            number: RecordNumber(number),
            synced_through: RecordNumber(synced_through),
            body_crc: 0,
            items: 0,
            kind: RecordKind::Data,
        }
    }

    #[test]
    fn marks_never_lie_behind_an_unsynced_record_and_stay_few() {
        let mut marks = Marks::default();
        for number in 1..=10_000u64 {
            let sequence = 1 + number / 4_000;
            let offset = 512 + number % 4_000 * 100;
            let synced = number.saturating_sub(1_500);
            marks.note(&record(number, synced, sequence), offset);
            let first = marks.marks.front().unwrap();
            assert!(
                first.number.0 <= synced + 1,
                "record {} is not covered",
                synced + 1
            );
            assert!(marks.marks.len() <= 6);
        }
        // Records 8,501 to 10,000 are not synced; the third segment begins with 8,000.
        let places = [1, 2, 3].map(|sequence| marks.first_in(sequence));
        assert_eq!(places, [None, None, Some(512)]);
    }
}
