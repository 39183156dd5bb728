//! The layout of an entry, what is refused, and that nothing read makes the reader panic.

use super::*;
use proptest::prelude::*;

type Command = (u16, Vec<Vec<u8>>);

fn push(builder: &mut BatchBuilder, (database, argv): &Command) -> Result<(), EntryError> {
    let bytes = argv.concat();
    let mut end = 0;
    let span = |arg: &Vec<u8>| {
        let start = end;
        end += arg.len() as u32;
        (start, end)
    };
    let spans: Vec<Span> = argv.iter().map(span).collect();
    builder.push(*database, &bytes, &spans).map(|_| ())
}

fn read(bytes: &[u8]) -> Result<(Stamp, Vec<Command>), EntryError> {
    let batch = Batch::decode(bytes)?;
    let (mut cursor, mut spans, mut commands) = (batch.cursor(), Vec::new(), Vec::new());
    while let Some(database) = cursor.next_into(&mut spans)? {
        let arg = |&(start, end): &Span| bytes[start as usize..end as usize].to_vec();
        commands.push((database, spans.iter().map(arg).collect()));
    }
    Ok((batch.stamp(), commands))
}

fn command() -> impl Strategy<Value = Command> {
    let arg = proptest::collection::vec(any::<u8>(), 0..300);
    (any::<u16>(), proptest::collection::vec(arg, 1..6))
}

const STAMP: Stamp = Stamp {
    clock_ms: 1_700_000_000_123,
    seed: 42,
};

#[test]
fn an_entry_has_the_bytes_that_the_module_draws() {
    let mut builder = BatchBuilder::new();
    let set: Command = (3, vec![b"SET".to_vec(), b"k".to_vec(), vec![b'v'; 200]]);
    push(&mut builder, &set).unwrap();
    let entry = builder.finish(STAMP);
    assert_eq!(entry[0], 1);
    assert_eq!(entry[1..9], STAMP.clock_ms.to_le_bytes());
    assert_eq!(entry[9..17], STAMP.seed.to_le_bytes());
    assert_eq!(entry[17..23], [1, 0, 1, 0, 0, 0]);
    assert_eq!(entry[23..30], [3, 3, 3, b'S', b'E', b'T', 1]);
    assert_eq!(entry[30..33], [b'k', 0xC8, 0x01]);
    assert_eq!(entry.len(), 33 + 200);
}

#[test]
fn the_builder_is_empty_after_an_entry_is_finished() {
    let mut builder = BatchBuilder::new();
    assert!(builder.is_empty());
    assert_eq!(builder.bytes(), 0);
    push(&mut builder, &(0, vec![b"PING".to_vec()])).unwrap();
    assert_eq!((builder.len(), builder.bytes()), (1, 23 + 7));
    let first = builder.finish(STAMP);
    assert_eq!((builder.len(), builder.bytes()), (0, 0));
    push(&mut builder, &(0, vec![b"TIME".to_vec()])).unwrap();
    let second = builder.finish(Stamp::default());
    assert_eq!(read(&first).unwrap().1, [(0, vec![b"PING".to_vec()])]);
    assert_eq!(read(&second).unwrap().1, [(0, vec![b"TIME".to_vec()])]);
}

#[test]
fn a_cleared_batch_holds_nothing() {
    let mut builder = BatchBuilder::new();
    push(&mut builder, &(0, vec![b"PING".to_vec()])).unwrap();
    builder.clear();
    assert!(builder.is_empty());
    assert_eq!(read(&builder.finish(STAMP)), Ok((STAMP, vec![])));
}

#[test]
fn a_mark_is_an_entry_of_today_that_holds_no_command() {
    let entry = mark(STAMP);
    assert_eq!(read(&entry), Ok((STAMP, vec![])));
    assert_eq!(entry[17..23], [1, 0, 0, 0, 0, 0]);
    assert_eq!(mark_of(&entry), Some(STAMP.seed));
    let mut builder = BatchBuilder::new();
    push(&mut builder, &(0, vec![b"PING".to_vec()])).unwrap();
    assert_eq!(mark_of(&builder.finish(STAMP)), None);
    assert_eq!(mark_of(&entry[..22]), None);
    assert_eq!(mark_of(&[]), None);
}

#[test]
fn memory_of_finished_entries_is_used_again() {
    let mut builder = BatchBuilder::new();
    let mut places = std::collections::HashSet::new();
    for _ in 0..1000 {
        push(
            &mut builder,
            &(0, vec![b"SET".to_vec(), vec![b'k'; 16], vec![b'v'; 64]]),
        )
        .unwrap();
        let entry = builder.finish(STAMP);
        places.insert(entry.as_ptr() as usize);
    }
    assert!(places.len() < 100, "{} different places", places.len());
}

#[test]
fn a_command_without_arguments_is_refused_on_both_sides() {
    let mut builder = BatchBuilder::new();
    assert_eq!(
        push(&mut builder, &(0, vec![])),
        Err(EntryError::NoArguments)
    );
    push(&mut builder, &(0, vec![b"X".to_vec()])).unwrap();
    let mut entry = builder.finish(STAMP).to_vec();
    entry[HEADER_BYTES + 1] = 0;
    assert_eq!(read(&entry), Err(EntryError::NoArguments));
}

#[test]
fn an_entry_of_newer_rules_is_refused_by_name() {
    let mut entry = BatchBuilder::new().finish(STAMP).to_vec();
    entry[17] = 2;
    assert_eq!(read(&entry), Err(EntryError::Semantics(2)));
    entry[0] = 2;
    assert!(matches!(read(&entry), Err(EntryError::Header(_))));
}

#[test]
#[should_panic(expected = "out of range")]
fn a_span_beyond_its_bytes_is_never_read() {
    let _ = BatchBuilder::new().push(0, b"PING", &[(0, 5)]);
}

#[test]
fn a_claim_of_four_billion_arguments_allocates_nothing() {
    let mut builder = BatchBuilder::new();
    push(&mut builder, &(0, vec![b"PING".to_vec()])).unwrap();
    let mut entry = builder.finish(STAMP).to_vec();
    entry.truncate(HEADER_BYTES + 1);
    entry.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
    assert_eq!(read(&entry), Err(EntryError::Damaged(HEADER_BYTES)));
}

#[test]
fn a_batch_that_would_outgrow_its_offsets_refuses_the_command() {
    // The argument is never copied, so one block of memory can stand for many.
    let block = vec![0u8; 64 * 1024 * 1024];
    let mut builder = BatchBuilder::new();
    push(&mut builder, &(0, vec![b"PING".to_vec()])).unwrap();
    let spans = [(0, block.len() as u32); 33];
    assert_eq!(builder.push(0, &block, &spans), Err(EntryError::TooLarge));
    assert_eq!(builder.len(), 1);
}

proptest! {
    #[test]
    fn batches_come_back_as_they_went(
        batches in proptest::collection::vec(proptest::collection::vec(command(), 0..20), 1..4),
        clock_ms: u64,
        seed: u64,
    ) {
        let mut builder = BatchBuilder::new();
        let stamp = Stamp { clock_ms, seed };
        let mut entries = Vec::new();
        for commands in &batches {
            for command in commands {
                push(&mut builder, command).unwrap();
            }
            prop_assert_eq!(builder.len(), commands.len());
            entries.push(builder.finish(stamp));
        }
        for (commands, entry) in batches.iter().zip(&entries) {
            prop_assert_eq!(Batch::decode(entry).unwrap().len(), commands.len());
            prop_assert_eq!(Batch::decode(entry).unwrap().validate(), Ok(()));
            prop_assert_eq!(&read(entry).unwrap(), &(stamp, commands.clone()));
        }
    }

    #[test]
    fn a_shortened_entry_is_an_error(commands in proptest::collection::vec(command(), 1..5), cut: prop::sample::Index) {
        let mut builder = BatchBuilder::new();
        for command in &commands {
            push(&mut builder, command).unwrap();
        }
        let entry = builder.finish(STAMP);
        prop_assert!(read(&entry[..cut.index(entry.len())]).is_err());
    }

    #[test]
    fn garbage_is_an_error_or_an_entry_but_no_panic(
        tail in proptest::collection::vec(any::<u8>(), 0..200),
        commands in 0u8..9,
    ) {
        let mut entry = BatchBuilder::new().finish(STAMP).to_vec();
        entry[19] = commands;
        entry.extend_from_slice(&tail);
        if let Ok((_, read)) = read(&entry) {
            prop_assert_eq!(read.len(), commands as usize);
        }
        let _ = Batch::decode(&tail).map(|batch| batch.validate());
    }
}
