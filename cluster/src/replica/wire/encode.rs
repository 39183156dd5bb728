//! Writes frames. The data of large entries is not copied: a frame is a list of pieces, to be written one after the
//! other.

use super::{
    expected, first_expectation, Fields, Kind, WireError, COMMIT, COMMIT_TERM, CONTEXT,
    CONTEXT_FLAG, ENTRIES_MAX, EPOCH, FRAME_BYTES_MAX, FRAME_BYTES_SOFT, FROM, INDEX, KINDS,
    LOG_TERM, REJECT_FLAG, REJECT_HINT, REQUEST_SNAPSHOT, SHARD, TERM, TO, TOKEN_BYTES_MAX,
    WIRE_VERSION,
};
use crate::codec;
use crate::replica::lease::CAMPAIGN_TRANSFER;
use crate::replica::{Message, SnapshotPlace};
use crate::types::{Epoch, ReplicaId, ShardId};
use bytes::{BufMut, Bytes, BytesMut};
use raft::eraftpb::EntryType;

/// Entries up to this size are copied into the frame, larger ones are pieces of their own, in bytes.
const COPY_BYTES_MAX: usize = 4096;

/// More than a record without its tail ever takes, in bytes.
const RECORD_BYTES_MAX: usize = 1 + 2 + super::FIELDS * 10;

/// More than an entry without its data ever takes, in bytes.
const ENTRY_HEADER_BYTES_MAX: usize = 15;

/// The record that may end a frame, in bytes.
const PATIENT_BYTES: usize = 2;

/// A frame that is being filled. Afterwards it can be filled again.
#[derive(Debug)]
pub struct FrameBuilder {
    /// Pieces that are finished.
    pieces: Vec<Bytes>,
    pieces_bytes: usize,
    /// What comes behind them.
    open: BytesMut,
    last: Fields,
    messages: usize,
    /// Somebody waits for the answers to what is in it.
    is_awaited: bool,
}

impl Default for FrameBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameBuilder {
    /// An empty frame.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pieces: Vec::new(),
            pieces_bytes: 0,
            open: BytesMut::new(),
            last: first_expectation(),
            messages: 0,
            is_awaited: false,
        }
    }

    /// Adds a message of a replica that has this epoch.
    ///
    /// # Errors
    /// [`WireError::Full`] when it fits into an empty frame but not into this one, others when it cannot be
    /// written at all. The frame is as it was then.
    pub fn push(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        message: &Message,
    ) -> Result<(), WireError> {
        self.push_patient(shard, epoch, message)?;
        self.is_awaited = true;
        Ok(())
    }

    /// As [`FrameBuilder::push`], for a message whose answer nobody waits for: where a frame holds no other, the receiver may keep its
    /// answers until it has more to send. A frame costs both sides about as much as ten commands.
    ///
    /// # Errors
    /// As [`FrameBuilder::push`].
    pub fn push_patient(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        message: &Message,
    ) -> Result<(), WireError> {
        let (kind, flags) = kind_of(message)?;
        let snapshot = match kind {
            Kind::Snapshot => snapshot_tail(message)?,
            _ => Vec::new(),
        };
        self.make_room(RECORD_BYTES_MAX + snapshot.len() + entries_bytes(message)?)?;
        self.put_record(kind, flags, &fields_of(shard, epoch, kind, message));
        if kind == Kind::Append {
            self.put_entries(message);
        }
        self.open.put_slice(&snapshot);
        Ok(())
    }

    /// Adds that a replica is gone for good.
    ///
    /// # Errors
    /// [`WireError::Full`].
    pub fn push_gone(&mut self, shard: ShardId, replica: ReplicaId) -> Result<(), WireError> {
        self.make_room(RECORD_BYTES_MAX)?;
        let mut fields = Fields::default();
        (fields[SHARD], fields[FROM]) = (u64::from(shard.get()), replica.get());
        self.put_record(Kind::Gone, 0, &fields);
        self.is_awaited = true;
        Ok(())
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// How many messages it carries.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Its length so far, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pieces_bytes + self.open.len()
    }

    /// Whether it is large enough to be sent.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.bytes() >= FRAME_BYTES_SOFT
    }

    /// The frame, in pieces that follow each other; nothing when it is empty. What is filled next is another frame.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Bytes> {
        if self.messages > 0 && !self.is_awaited {
            self.put_record(Kind::Patient, 0, &Fields::default());
        }
        self.close_piece();
        (self.pieces_bytes, self.messages) = (0, 0);
        self.is_awaited = false;
        self.last = first_expectation();
        std::mem::take(&mut self.pieces)
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), WireError> {
        if bytes + 1 + PATIENT_BYTES > FRAME_BYTES_MAX {
            return Err(WireError::TooLarge(bytes));
        }
        if self.bytes() + bytes + PATIENT_BYTES > FRAME_BYTES_MAX {
            return Err(WireError::Full);
        }
        if self.messages == 0 {
            self.open.put_u8(WIRE_VERSION);
        }
        Ok(())
    }

    fn put_record(&mut self, kind: Kind, flags: u8, fields: &Fields) {
        let mut changed = 0u64;
        for &field in kind.fields() {
            changed |= u64::from(fields[field] != expected(field, &self.last)) << field;
        }
        self.open.put_u8(kind as u8 | flags);
        put_varint(&mut self.open, changed);
        for &field in kind.fields() {
            if changed >> field & 1 == 1 {
                let step = fields[field].wrapping_sub(expected(field, &self.last)) as i64;
                // The sign goes to the lowest bit.
                put_varint(&mut self.open, (step << 1 ^ step >> 63) as u64);
            }
            self.last[field] = fields[field];
        }
        self.messages += 1;
    }

    fn put_entries(&mut self, message: &Message) {
        put_varint(&mut self.open, message.entries.len() as u64);
        let mut term = message.log_term;
        for entry in &message.entries {
            let membership = entry.entry_type == EntryType::EntryConfChangeV2;
            put_varint(
                &mut self.open,
                (entry.term - term) << 1 | u64::from(membership),
            );
            put_varint(&mut self.open, entry.data.len() as u64);
            if entry.data.len() <= COPY_BYTES_MAX {
                self.open.put_slice(&entry.data);
            } else {
                self.close_piece();
                self.pieces_bytes += entry.data.len();
                self.pieces.push(entry.data.clone());
            }
            term = entry.term;
        }
    }

    fn close_piece(&mut self) {
        if !self.open.is_empty() {
            self.pieces_bytes += self.open.len();
            self.pieces.push(self.open.split().freeze());
        }
    }
}

fn kind_of(message: &Message) -> Result<(Kind, u8), WireError> {
    let unsendable = || WireError::Unsendable(format!("{:?}", message.msg_type));
    let kind = KINDS
        .iter()
        .find(|(_, kind)| *kind == message.msg_type)
        .map(|(kind, _)| *kind)
        .ok_or_else(unsendable)?;
    let mut flags = if message.reject { REJECT_FLAG } else { 0 };
    if !message.context.is_empty() {
        let known = match kind {
            _ if kind.has_round() => message.context.len() == 8,
            _ if kind.asks_for_vote() => message.context == CAMPAIGN_TRANSFER,
            _ => false,
        };
        if !known {
            return Err(unsendable());
        }
        flags |= CONTEXT_FLAG;
    }
    Ok((kind, flags))
}

fn fields_of(shard: ShardId, epoch: Epoch, kind: Kind, message: &Message) -> Fields {
    let mut fields = Fields::default();
    fields[SHARD] = u64::from(shard.get());
    fields[EPOCH] = epoch.get();
    fields[FROM] = message.from;
    fields[TO] = message.to;
    fields[TERM] = message.term;
    fields[COMMIT] = message.commit;
    fields[INDEX] = message.index;
    fields[LOG_TERM] = message.log_term;
    fields[COMMIT_TERM] = message.commit_term;
    fields[REJECT_HINT] = message.reject_hint;
    fields[REQUEST_SNAPSHOT] = message.request_snapshot;
    if kind.has_round() {
        let context = message.context.as_ref().try_into();
        fields[CONTEXT] = context.map_or(0, u64::from_le_bytes);
    }
    fields
}

/// What the entries may take, when they are as the wire assumes: without gaps, terms not going backwards.
fn entries_bytes(message: &Message) -> Result<usize, WireError> {
    let (mut index, mut term) = (message.index, message.log_term);
    let mut bytes = 10;
    for entry in &message.entries {
        let known = entry.entry_type != EntryType::EntryConfChange;
        let fits = entry.term - term.min(entry.term) <= u64::MAX >> 1;
        if Some(entry.index) != index.checked_add(1) || entry.term < term || !known || !fits {
            let text = format!("a log entry {}@{}", entry.index, entry.term);
            return Err(WireError::Unsendable(text));
        }
        (index, term) = (entry.index, entry.term);
        bytes += ENTRY_HEADER_BYTES_MAX + entry.data.len();
    }
    match message.entries.len() <= ENTRIES_MAX {
        true => Ok(bytes),
        false => Err(WireError::TooLarge(message.entries.len())),
    }
}

fn snapshot_tail(message: &Message) -> Result<Vec<u8>, WireError> {
    let unsendable = || WireError::Unsendable("a snapshot without a place".into());
    let (place, token) = SnapshotPlace::from_raft(message.get_snapshot()).ok_or_else(unsendable)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(WireError::TooLarge(token.len()));
    }
    let place = codec::encode(&place).map_err(WireError::Snapshot)?;
    let mut tail = BytesMut::new();
    put_varint(&mut tail, place.len() as u64);
    tail.put_slice(&place);
    put_varint(&mut tail, token.len() as u64);
    tail.put_slice(&token);
    Ok(tail.to_vec())
}

fn put_varint(bytes: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}
