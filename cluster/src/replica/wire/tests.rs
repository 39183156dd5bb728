//! Messages on the wire: there and back, their size, and bytes that are none of them.

use super::*;
use crate::replica::lease::CAMPAIGN_TRANSFER;
use crate::replica::{snapshot_message, Membership, SnapshotPlace};
use crate::types::{Index, Term};
use bytes::Bytes;
use proptest::prelude::*;
use raft::eraftpb::{Entry, EntryType};

fn joined(pieces: &[Bytes]) -> Bytes {
    Bytes::from(pieces.concat())
}

fn read(frame: Bytes) -> Result<Vec<Packet>, WireError> {
    FrameReader::new(frame)?.collect()
}

fn heartbeat(shard: u16, context: u64) -> (ShardId, Epoch, Message) {
    let message = Message {
        msg_type: MessageType::MsgHeartbeat,
        from: 1 + 3 * u64::from(shard),
        to: 2 + 3 * u64::from(shard),
        term: 7,
        commit: 1_000_000 + u64::from(shard) * 331,
        context: Bytes::copy_from_slice(&context.to_le_bytes()),
        ..Default::default()
    };
    (ShardId(shard), Epoch(4), message)
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..200, any::<u64>(), Just(u64::MAX)]
}

fn entries() -> impl Strategy<Value = Vec<(u64, bool, Vec<u8>)>> {
    let data = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (4000usize..9000).prop_map(|length| vec![7; length]),
    ];
    proptest::collection::vec((0u64..3, any::<bool>(), data), 0..6)
}

/// A message with all that its kind carries, and nothing else.
fn message() -> impl Strategy<Value = Message> {
    let kind = 0..KINDS.len();
    let numbers = proptest::collection::vec(numbers(), 8);
    (kind, numbers, entries(), any::<(bool, bool)>()).prop_map(
        |(kind, numbers, entries, (reject, context))| {
            let (kind, msg_type) = KINDS[kind];
            let has = |field| kind.fields().contains(&field);
            let number = |field: usize, place: usize| if has(field) { numbers[place] } else { 0 };
            let mut message = Message {
                msg_type,
                from: numbers[0],
                to: numbers[1],
                term: numbers[2],
                commit: number(COMMIT, 3),
                index: number(INDEX, 4) / 2,
                log_term: number(LOG_TERM, 5) / 2,
                commit_term: number(COMMIT_TERM, 6),
                reject_hint: number(REJECT_HINT, 7),
                request_snapshot: number(REQUEST_SNAPSHOT, 3),
                reject,
                ..Default::default()
            };
            match kind {
                _ if context && kind.has_round() => {
                    message.context = Bytes::copy_from_slice(&numbers[4].to_le_bytes());
                }
                _ if context && kind.asks_for_vote() => {
                    message.context = Bytes::from_static(CAMPAIGN_TRANSFER);
                }
                Kind::Append => append(&mut message, entries),
                Kind::Snapshot => {
                    let place = SnapshotPlace {
                        index: Index(numbers[5].max(1)),
                        term: Term(numbers[6].max(1)),
                        membership: Membership {
                            epoch: Epoch(numbers[7]),
                            ..Membership::of_voters([1, 2].map(ReplicaId))
                        },
                    };
                    message.snapshot = Some(place.to_raft(b"token")).into();
                }
                _ => {}
            }
            message
        },
    )
}

fn append(message: &mut Message, entries: Vec<(u64, bool, Vec<u8>)>) {
    let (mut index, mut term) = (message.index, message.log_term);
    let mut list = Vec::new();
    for (step, membership, data) in entries {
        (index, term) = (index + 1, term + step);
        let entry_type = match membership {
            true => EntryType::EntryConfChangeV2,
            false => EntryType::EntryNormal,
        };
        list.push(Entry {
            entry_type,
            index,
            term,
            data: data.into(),
            ..Default::default()
        });
    }
    message.entries = list.into();
}

proptest! {
    #[test]
    fn messages_come_back_as_they_went(
        sent in proptest::collection::vec((any::<u16>(), numbers(), message()), 1..20),
        gone in any::<(u16, u64)>(),
    ) {
        let mut frame = FrameBuilder::new();
        let mut expected = Vec::new();
        for (shard, epoch, message) in sent {
            let (shard, epoch) = (ShardId(shard), Epoch(epoch));
            frame.push(shard, epoch, &message).unwrap();
            let (from, to) = (ReplicaId(message.from), ReplicaId(message.to));
            expected.push(Packet::Message(Envelope { shard, epoch, from, to }, message));
        }
        let (shard, replica) = (ShardId(gone.0), ReplicaId(gone.1));
        frame.push_gone(shard, replica).unwrap();
        expected.push(Packet::Gone { shard, replica });
        let bytes = frame.bytes();
        let frame = joined(&frame.finish());
        prop_assert_eq!(frame.len(), bytes);
        prop_assert_eq!(read(frame).unwrap(), expected);
    }

    #[test]
    fn garbage_is_an_error_or_messages_but_no_panic(mut bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        bytes[0] = WIRE_VERSION;
        let _ = read(bytes.into());
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_other_messages_but_no_panic(
        message in message(),
        place in any::<proptest::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut frame = FrameBuilder::new();
        frame.push(ShardId(1), Epoch(1), &message).unwrap();
        let mut bytes = joined(&frame.finish()).to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let _ = read(bytes.into());
    }

    #[test]
    fn a_frame_that_is_cut_off_is_an_error(message in message(), place in any::<proptest::sample::Index>()) {
        let mut frame = FrameBuilder::new();
        frame.push(ShardId(1), Epoch(1), &message).unwrap();
        let bytes = joined(&frame.finish());
        let cut = place.index(bytes.len() - 2) + 2;
        prop_assert!(cut == bytes.len() || read(bytes.slice(..cut)).is_err());
    }
}

#[test]
fn heartbeats_of_many_shards_cost_a_few_bytes_each() {
    let mut frame = FrameBuilder::new();
    for shard in 0..64 {
        let (shard, epoch, message) = heartbeat(shard, 500 + u64::from(shard % 3));
        frame.push(shard, epoch, &message).unwrap();
    }
    let bytes = frame.bytes();
    assert!(bytes <= 64 * 8, "{bytes} bytes for 64 heartbeats");
    assert_eq!(read(joined(&frame.finish())).unwrap().len(), 64);
}

#[test]
fn entries_are_neither_copied_into_a_frame_when_large_nor_out_of_it() {
    let (shard, epoch, mut message) = heartbeat(0, 0);
    message.msg_type = MessageType::MsgAppend;
    message.context = Bytes::new();
    append(&mut message, vec![(1, false, vec![9; 100_000])]);
    let mut frame = FrameBuilder::new();
    frame.push(shard, epoch, &message).unwrap();
    let pieces = frame.finish();
    assert_eq!(pieces[1].as_ptr(), message.entries[0].data.as_ptr());

    let frame = joined(&pieces);
    let inside = frame.as_ptr_range();
    let packets = read(frame.clone()).unwrap();
    let Packet::Message(_, read) = &packets[0] else {
        panic!("a message was written");
    };
    assert!(inside.contains(&read.entries[0].data.as_ptr()));
}

#[test]
fn a_frame_is_empty_again_when_it_is_finished() {
    let mut frame = FrameBuilder::new();
    assert!(frame.is_empty() && frame.finish().is_empty());
    for _ in 0..2 {
        let (shard, epoch, message) = heartbeat(5, 1);
        frame.push(shard, epoch, &message).unwrap();
        assert_eq!(frame.messages(), 1);
        assert_eq!(read(joined(&frame.finish())).unwrap().len(), 1);
    }
}

#[test]
fn what_is_not_for_peers_is_not_written() {
    let mut frame = FrameBuilder::new();
    let forwarded = Message {
        msg_type: MessageType::MsgPropose,
        ..Default::default()
    };
    let gap = Message {
        msg_type: MessageType::MsgAppend,
        entries: vec![Entry {
            index: 2,
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    let place = SnapshotPlace {
        index: Index(1),
        term: Term(1),
        membership: Membership::of_voters([ReplicaId(1)]),
    };
    let ids = (ReplicaId(1), ReplicaId(2));
    let token = vec![0; TOKEN_BYTES_MAX + 1];
    let snapshot = snapshot_message(ids, Term(1), &place, &token);
    for message in [forwarded, gap, snapshot] {
        assert!(frame.push(ShardId(0), Epoch(0), &message).is_err());
    }
    assert!(frame.is_empty() && frame.finish().is_empty());
}

#[test]
fn a_frame_of_another_version_is_named_and_not_read() {
    let error = FrameReader::new(Bytes::from_static(&[9, 0])).unwrap_err();
    assert_eq!(error, WireError::Version(9));
    let error = FrameReader::new(Bytes::new()).unwrap_err();
    assert_eq!(error, WireError::Length(0));
}

#[test]
fn a_count_beyond_all_bounds_is_refused_without_allocating() {
    // An append without changed fields, and entries without end.
    let mut bytes = vec![WIRE_VERSION, Kind::Append as u8, 0];
    bytes.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
    assert_eq!(read(bytes.into()), Err(WireError::Damaged(3)));
}

#[test]
fn a_frame_says_when_nobody_waits_for_its_answers() {
    let (shard, epoch, message) = heartbeat(3, 9);
    let mut frame = FrameBuilder::new();
    frame.push_patient(shard, epoch, &message).expect("room");
    frame.push_patient(shard, epoch, &message).expect("room");
    let packets = read(joined(&frame.finish())).expect("as it was written");
    assert_eq!(packets.len(), 3);
    assert_eq!(packets[2], Packet::Patient);
    frame.push_patient(shard, epoch, &message).expect("room");
    frame.push(shard, epoch, &message).expect("room");
    let packets = read(joined(&frame.finish())).expect("as it was written");
    assert_eq!(packets.len(), 2, "one that is awaited makes the frame so");
    assert!(frame.finish().is_empty(), "an empty frame says nothing");
}
