//! Reads frames. Large entries keep their data in the frame; small ones are copied, because a frame is a part of a read buffer, and an
//! entry that stays in the log would hold all of it.

use super::{
    expected, first_expectation, Envelope, Fields, Kind, Packet, WireError, COMMIT, COMMIT_TERM,
    CONTEXT, CONTEXT_FLAG, ENTRIES_MAX, EPOCH, FIELDS, FRAME_BYTES_MAX, FROM, INDEX, KINDS,
    KIND_MASK, LOG_TERM, REJECT_FLAG, REJECT_HINT, REQUEST_SNAPSHOT, SHARD, TERM, TO,
    TOKEN_BYTES_MAX, WIRE_VERSION,
};
use crate::codec;
use crate::replica::lease::CAMPAIGN_TRANSFER;
use crate::replica::{Message, SnapshotPlace};
use crate::types::{Epoch, ReplicaId, ShardId};
use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, MessageType, Snapshot};

/// A walk over the records of a frame. After an error it has ended: what follows cannot be found.
#[derive(Debug)]
pub struct FrameReader {
    frame: Bytes,
    at: usize,
    last: Fields,
}

impl FrameReader {
    /// Begins to read a frame.
    ///
    /// # Errors
    /// When it is empty, too large or of a version that this program does not know.
    pub fn new(frame: Bytes) -> Result<Self, WireError> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(WireError::Length(frame.len()));
        }
        match frame.first() {
            None => Err(WireError::Length(0)),
            Some(&WIRE_VERSION) => Ok(Self {
                frame,
                at: 1,
                last: first_expectation(),
            }),
            Some(&version) => Err(WireError::Version(version)),
        }
    }

    fn record(&mut self) -> Result<Packet, WireError> {
        let start = self.at;
        let damaged = || WireError::Damaged(start);
        let head = self.byte()?;
        let number = usize::from(head & KIND_MASK);
        let (kind, msg_type) = match KINDS.get(number) {
            Some(&(kind, msg_type)) => (kind, Some(msg_type)),
            None if head == Kind::Patient as u8 => {
                self.fields(Kind::Patient)?;
                return Ok(Packet::Patient);
            }
            None if number == Kind::Gone as usize => (Kind::Gone, None),
            None => return Err(damaged()),
        };
        let fields = self.fields(kind)?;
        let shard = u16::try_from(fields[SHARD]).map_err(|_| damaged())?;
        let shard = ShardId(shard);
        let Some(msg_type) = msg_type else {
            let replica = ReplicaId(fields[FROM]);
            return match head == Kind::Gone as u8 {
                true => Ok(Packet::Gone { shard, replica }),
                false => Err(damaged()),
            };
        };
        let mut message = message_of(msg_type, &fields);
        message.reject = head & REJECT_FLAG != 0;
        message.context = context_of(head, kind, &fields).ok_or_else(damaged)?;
        match kind {
            Kind::Append => message.entries = self.entries(&fields)?.into(),
            Kind::Snapshot => message.snapshot = Some(self.snapshot()?).into(),
            _ => {}
        }
        let envelope = Envelope {
            shard,
            epoch: Epoch(fields[EPOCH]),
            from: ReplicaId(fields[FROM]),
            to: ReplicaId(fields[TO]),
        };
        Ok(Packet::Message(envelope, message))
    }

    fn fields(&mut self, kind: Kind) -> Result<Fields, WireError> {
        let start = self.at;
        let changed = self.varint()?;
        let (mut fields, mut known) = ([0; FIELDS], 0);
        for &field in kind.fields() {
            fields[field] = expected(field, &self.last);
            known |= 1u64 << field;
            if changed >> field & 1 == 1 {
                let step = self.varint()?;
                let step = (step >> 1) ^ (step & 1).wrapping_neg();
                fields[field] = fields[field].wrapping_add(step);
            }
            self.last[field] = fields[field];
        }
        match changed & !known {
            0 => Ok(fields),
            _ => Err(WireError::Damaged(start)),
        }
    }

    fn entries(&mut self, fields: &Fields) -> Result<Vec<Entry>, WireError> {
        let start = self.at;
        let count = self.varint()? as usize;
        // An entry takes two bytes at least, so the claim can be checked before anything is allocated.
        if count > ENTRIES_MAX || count > (self.frame.len() - self.at) / 2 {
            return Err(WireError::Damaged(start));
        }
        let mut entries = Vec::with_capacity(count);
        let (mut index, mut term) = (fields[INDEX], fields[LOG_TERM]);
        for _ in 0..count {
            let at = self.at;
            let damaged = || WireError::Damaged(at);
            let head = self.varint()?;
            index = index.checked_add(1).ok_or_else(damaged)?;
            term = term.checked_add(head >> 1).ok_or_else(damaged)?;
            let entry_type = match head & 1 {
                0 => EntryType::EntryNormal,
                _ => EntryType::EntryConfChangeV2,
            };
            entries.push(Entry {
                entry_type,
                term,
                index,
                data: own(self.bytes(usize::MAX)?),
                ..Default::default()
            });
        }
        Ok(entries)
    }

    fn snapshot(&mut self) -> Result<Snapshot, WireError> {
        let place = self.bytes(codec::VALUE_BYTES_MAX)?;
        let place: SnapshotPlace = codec::decode(&place).map_err(WireError::Snapshot)?;
        let token = self.bytes(TOKEN_BYTES_MAX)?;
        Ok(place.to_raft(&token))
    }

    /// Bytes behind their length, where they lie.
    fn bytes(&mut self, length_max: usize) -> Result<Bytes, WireError> {
        let start = self.at;
        let length = self.varint()?;
        let left = self.frame.len() - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left && length <= length_max => {
                self.at += length;
                Ok(self.frame.slice(self.at - length..self.at))
            }
            _ => Err(WireError::Damaged(start)),
        }
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        let byte = self.frame.get(self.at).copied();
        let byte = byte.ok_or(WireError::Damaged(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let start = self.at;
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            // The tenth byte has one bit left to give.
            if part << shift >> shift != part {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(WireError::Damaged(start))
    }
}

/// Entries up to this size are copied, in bytes.
const COPY_BYTES_MAX: usize = 4096;

fn own(data: Bytes) -> Bytes {
    match data.len() <= COPY_BYTES_MAX {
        true => Bytes::copy_from_slice(&data),
        false => data,
    }
}

impl Iterator for FrameReader {
    type Item = Result<Packet, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.frame.len() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.at = self.frame.len();
        }
        Some(record)
    }
}

fn message_of(msg_type: MessageType, fields: &Fields) -> Message {
    Message {
        msg_type,
        from: fields[FROM],
        to: fields[TO],
        term: fields[TERM],
        commit: fields[COMMIT],
        index: fields[INDEX],
        log_term: fields[LOG_TERM],
        commit_term: fields[COMMIT_TERM],
        reject_hint: fields[REJECT_HINT],
        request_snapshot: fields[REQUEST_SNAPSHOT],
        ..Default::default()
    }
}

/// The context of a message; `None` when the flags are not those of its kind.
fn context_of(head: u8, kind: Kind, fields: &Fields) -> Option<Bytes> {
    let flags = head & !KIND_MASK;
    if flags & !(REJECT_FLAG | CONTEXT_FLAG) != 0 {
        return None;
    }
    if flags & CONTEXT_FLAG == 0 {
        return Some(Bytes::new());
    }
    match kind {
        _ if kind.has_round() => Some(Bytes::copy_from_slice(&fields[CONTEXT].to_le_bytes())),
        _ if kind.asks_for_vote() => Some(Bytes::from_static(CAMPAIGN_TRANSFER)),
        _ => None,
    }
}
