//! The simulated disk must be as bad as a real one, and no worse.

use super::*;
use crate::durability::disk::{read_full_at, write_all_at, SharedDisk};

fn content(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_full_at(&*file, 0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_process_crash_keeps_what_was_written_and_kills_open_files() {
    let disk = SimDisk::new(1);
    let path = Path::new("/d/a");
    let file = disk.create(path).unwrap();
    write_all_at(&*file, 0, b"written").unwrap();
    disk.process_crash();
    assert_eq!(content(&disk, path), b"written");
    assert!(file.write_at(0, b"ghost").is_err());
}

#[test]
fn a_power_cut_keeps_synced_sectors_and_any_of_the_others() {
    let (mut kept, mut lost, mut mixed) = (0, 0, 0);
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let path = Path::new("/d/a");
        let file = disk.create(path).unwrap();
        write_all_at(&*file, 0, &[1; 4096]).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        write_all_at(&*file, 1024, &[2; 1024]).unwrap();
        disk.power_cut();
        let now = content(&disk, path);
        assert_eq!(now.len(), 4096);
        assert!(now[..1024]
            .iter()
            .chain(&now[2048..])
            .all(|byte| *byte == 1));
        for sector in now[1024..2048].chunks(SECTOR_BYTES) {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]),
                "a sector is never torn"
            );
        }
        match (now[1024], now[1536]) {
            (1, 1) => lost += 1,
            (2, 2) => kept += 1,
            _ => mixed += 1,
        }
    }
    assert!(
        kept > 20 && lost > 20 && mixed > 50,
        "{kept} {lost} {mixed}"
    );
}

#[test]
fn names_fall_back_in_order_to_the_last_sync_of_the_directory() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let dir = Path::new("/d");
        disk.create(&dir.join("old")).unwrap();
        disk.sync_dir(dir).unwrap();
        disk.create(&dir.join("new")).unwrap();
        disk.rename(&dir.join("old"), &dir.join("older")).unwrap();
        disk.remove(&dir.join("new")).unwrap();
        disk.power_cut();
        seen.insert(disk.list(dir).unwrap().join(" "));
    }
    let expected = ["new old", "new older", "old", "older"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn after_a_failed_sync_the_next_succeeds_and_means_nothing() {
    let disk = SimDisk::new(3);
    let path = Path::new("/d/a");
    let file = disk.create(path).unwrap();
    file.allocate(1024).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    write_all_at(&*file, 0, &[7; 1024]).unwrap();
    disk.fail(DiskCall::Sync, 0, io::ErrorKind::Other);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(content(&disk, path), [7; 1024]);
    disk.power_cut();
    assert_eq!(content(&disk, path), [0; 1024]);
}

#[test]
fn a_full_disk_refuses_allocation_and_shortens_writes() {
    let disk = SimDisk::new(4);
    disk.set_capacity(1000);
    let file = disk.create(Path::new("/d/a")).unwrap();
    assert_eq!(
        file.allocate(1001).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(file.write_at(0, &[1; 1500]).unwrap(), 1000);
    assert_eq!(
        file.write_at(1000, &[1]).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(
        file.write_at(0, &[1; 1000]).unwrap(),
        1000,
        "room that the file has stays usable"
    );
    disk.remove(Path::new("/d/a")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(disk.used(), 0);
}

#[test]
fn a_planned_stop_ends_all_work_until_the_restart() {
    let disk = SimDisk::new(5);
    let file = disk.create(Path::new("/d/a")).unwrap();
    disk.stop_at_call(2);
    write_all_at(&*file, 0, b"before").unwrap();
    assert!(write_all_at(&*file, 6, b"in it").is_err());
    assert!(disk.is_stopped() && file.sync().is_err() && disk.open(Path::new("/d/a")).is_err());
    disk.process_crash();
    assert!(content(&disk, Path::new("/d/a")).starts_with(b"before"));
}

#[test]
fn the_lock_goes_with_its_holder_or_with_the_process() {
    let disk: SharedDisk = Arc::new(SimDisk::new(6));
    let path = Path::new("/d/lock");
    let held = disk.lock(path).unwrap();
    assert_eq!(
        disk.lock(path).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(held);
    disk.lock(path).unwrap();
}
