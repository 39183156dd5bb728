//! One thing goes wrong with the files of a log: what follows must be as the rules say, and nothing but what was written
//! may be read.

use std::collections::BTreeMap;
use std::convert::Infallible;

use ringfort::durability::wal::{recover, RecoverError};
use ringfort::durability::LastStop;

use crate::bytes::{a_log, dir, dump, is_ordered_part, load, options, Files};
use crate::model::read;
use crate::random::Random;

/// Where a sound log's records are.
struct Place {
    file: String,
    offset: usize,
    /// Of the next record in the file, or the end of the last.
    end: usize,
    /// No record comes after it in the worker's newest log.
    last: bool,
}

pub fn run(seed: u64) {
    let mut random = Random(seed);
    let files = a_log(seed);
    let places = places(&files);
    for _ in 0..10 {
        flipped_bit(&mut random, &files, &places);
    }
    missing_file(&mut random, &files);
    swapped_files(&mut random, &files);
    cut_file(&mut random, &files);
    cut_with_consent(&mut random, &files, &places);
}

fn places(files: &Files) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut last_of: BTreeMap<u32, usize> = BTreeMap::new();
    let disk = load(files);
    recover(&disk, &dir(), options(LastStop::Crash, false), |view| {
        let file = view.path.file_name().unwrap().to_str().unwrap().to_owned();
        let offset = view.offset as usize;
        // Header, and a length in it.
        let at = offset + 4;
        let len = u32::from_le_bytes(files[&file][at..at + 4].try_into().unwrap()) as usize;
        last_of.insert(view.worker, places.len());
        places.push(Place {
            file,
            offset,
            end: offset + len,
            last: false,
        });
        Ok::<(), Infallible>(())
    })
    .unwrap();
    for at in last_of.into_values() {
        places[at].last = true;
    }
    places
}

/// A bit of a record turned over: damage, named by file and offset, unless nothing comes after it.
fn flipped_bit(random: &mut Random, files: &Files, places: &[Place]) {
    let place = &places[random.below(places.len() as u64) as usize];
    let bit = random.below(((place.end - place.offset) * 8) as u64) as usize;
    let mut bad = files.clone();
    bad.get_mut(&place.file).unwrap()[place.offset + bit / 8] ^= 1 << (bit % 8);
    let found = read(&load(&bad), &dir(), options(LastStop::Crash, false));
    if place.last {
        assert_eq!(
            found.unwrap().records.len(),
            places.len() - 1,
            "the torn tail, and only that"
        );
        return;
    }
    match found.map(|found| found.records.len()) {
        Err(RecoverError::Damaged(damage)) => {
            assert!(damage.path.ends_with(&place.file), "{damage}");
            assert_eq!(damage.offset as usize, place.offset, "{damage}");
        }
        other => panic!(
            "bit {bit} of the record at {} of {}: {other:?}",
            place.offset, place.file
        ),
    }
}

/// Only the first segments of a log may be missing without a word: those that were released.
fn missing_file(random: &mut Random, files: &Files) {
    let names: Vec<&String> = files.keys().collect();
    let at = random.below(names.len() as u64) as usize;
    let mut bad = files.clone();
    bad.remove(names[at]);
    let whole = read(&load(files), &dir(), options(LastStop::Crash, false)).unwrap();
    match read(&load(&bad), &dir(), options(LastStop::Crash, false)) {
        Ok(found) => {
            assert!(is_ordered_part(&found.records, &whole.records));
        }
        Err(error) => assert!(matches!(error, RecoverError::Damaged(_)), "{error}"),
    }
}

fn swapped_files(random: &mut Random, files: &Files) {
    // What is kept for recycling has no name to lose.
    let names: Vec<&String> = files.keys().filter(|name| name.ends_with(".log")).collect();
    let one = random.below(names.len() as u64) as usize;
    let other = (one + 1 + random.below(names.len() as u64 - 1) as usize) % names.len();
    let mut bad = files.clone();
    bad.insert(names[one].clone(), files[names[other]].clone());
    if random.one_in(2) {
        bad.insert(names[other].clone(), files[names[one]].clone());
    }
    let error = read(&load(&bad), &dir(), options(LastStop::Crash, false))
        .map(|_| ())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("another segment under this name"),
        "{error}"
    );
}

fn cut_file(random: &mut Random, files: &Files) {
    let names: Vec<&String> = files.keys().collect();
    let name = names[random.below(names.len() as u64) as usize];
    let len = files[name].len();
    let mut bad = files.clone();
    bad.get_mut(name)
        .unwrap()
        .truncate(random.below(len as u64) as usize);
    let found = read(&load(&bad), &dir(), options(LastStop::Crash, false));
    if let Ok(found) = found {
        // Room that no record used: the log goes on in the next file.
        let whole = read(&load(files), &dir(), options(LastStop::Crash, false)).unwrap();
        assert_eq!(found.records, whole.records);
    }
}

/// With the operator's consent the log ends before the damage, and stays that way.
fn cut_with_consent(random: &mut Random, files: &Files, places: &[Place]) {
    let at = random.below(places.len() as u64) as usize;
    let mut bad = files.clone();
    bad.get_mut(&places[at].file).unwrap()[places[at].offset + 60] ^= 1;
    let disk = load(&bad);
    let found = read(&disk, &dir(), options(LastStop::Crash, true)).unwrap();
    let whole = read(&load(files), &dir(), options(LastStop::Crash, false)).unwrap();
    assert_eq!(
        found.records[..at.min(found.records.len())],
        whole.records[..at]
    );
    // The log's own records have no number and may all be alike.
    let damaged = &whole.records[at];
    assert!(damaged.id().is_none() || !found.records.contains(damaged));
    let losses = &found.recovered.losses;
    assert_eq!(
        losses.iter().filter(|loss| loss.damage.is_some()).count(),
        usize::from(!places[at].last)
    );
    assert!(dump(&disk).len() <= bad.len());
    let again = read(&disk, &dir(), options(LastStop::Crash, false)).unwrap();
    assert_eq!(again.records, found.records);
    assert_eq!(again.recovered.losses, []);
}
