//! A small part of a file in memory, through which little is written without a call of the system: what is stored there is in
//! the system's cache at once, as after a write, and outlives the process. Knows nothing of what is written.

use std::fs::File;
use std::ptr;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::fstatfs;

/// How much of the file is mapped at a time. It counts as memory of the process.
const WINDOW_BYTES: u64 = 256 << 10;
/// Longer writes go through the system: a page that is touched for the first time costs more than its part of a long write.
const SMALL_BYTES: usize = 4 << 10;
/// Windows begin at multiples of this; no page is larger.
const ALIGN: u64 = 64 << 10;

/// File systems (by the number that `statfs` gives) that never refuse a page of allocated space: ext4, XFS, tmpfs. Elsewhere, where a
/// page may need new room when it is touched again, a full disk would end the process by a signal instead of an error.
const KEEP_SPACE: [u64; 3] = [0xEF53, 0x5846_5342, 0x0102_1994];

/// Where small writes go at present.
pub(super) struct Window {
    map: Option<MmapRaw>,
    /// Offset in the file of the map's first byte.
    start: u64,
}

impl Window {
    /// `None` where writes must go through the system.
    pub fn for_file(file: &File) -> Option<Self> {
        let kind = fstatfs(file).ok()?.f_type as u64;
        KEEP_SPACE.contains(&kind).then_some(Self {
            map: None,
            start: 0,
        })
    }

    /// Writes `bytes` if they are few and lie within the file; false when they must be written otherwise.
    #[inline]
    pub fn write(&mut self, file: &File, offset: u64, bytes: &[u8]) -> bool {
        if bytes.len() > SMALL_BYTES {
            return false;
        }
        if !self.holds(offset, bytes.len()) && !self.move_to(file, offset, bytes.len()) {
            return false;
        }
        let Some(map) = &self.map else {
            return false;
        };
        // SAFETY: `holds` has checked that the bytes lie within the map, which is within the file: who shortens a file
        // closes its window first. Nobody keeps a reference into the map.
        unsafe {
            let to = map.as_mut_ptr().add((offset - self.start) as usize);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        true
    }

    /// Gives the memory back.
    pub fn close(&mut self) {
        self.map = None;
    }

    #[inline]
    fn holds(&self, offset: u64, len: usize) -> bool {
        self.map.as_ref().is_some_and(|map| {
            offset >= self.start && offset - self.start + len as u64 <= map.len() as u64
        })
    }

    #[cold]
    fn move_to(&mut self, file: &File, offset: u64, len: usize) -> bool {
        self.close();
        let Ok(file_len) = file.metadata().map(|metadata| metadata.len()) else {
            return false;
        };
        self.start = offset / ALIGN * ALIGN;
        let end = file_len.min(self.start + WINDOW_BYTES);
        if end < offset + len as u64 {
            return false;
        }
        let mut options = MmapOptions::new();
        options.offset(self.start).len((end - self.start) as usize);
        self.map = options.map_raw(file).ok();
        self.map.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A window whatever the file system under the test's directory is.
    fn window() -> Window {
        Window {
            map: None,
            start: 0,
        }
    }

    fn file_of(len: u64) -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).unwrap();
        file.set_len(len).unwrap();
        (dir, file)
    }

    #[test]
    fn what_is_written_little_by_little_stands_in_the_file_at_once() {
        let len = 3 * WINDOW_BYTES + 100;
        let (dir, file) = file_of(len);
        let mut window = window();
        let mut expected = vec![0; len as usize];
        let mut offset = 7;
        let mut step = 1;
        while offset + step <= len {
            let bytes: Vec<u8> = (0..step).map(|at| (offset + at) as u8 | 1).collect();
            assert!(window.write(&file, offset, &bytes), "at {offset}");
            expected[offset as usize..(offset + step) as usize].copy_from_slice(&bytes);
            offset += step;
            step = step % 4000 + 77;
        }
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), expected);
    }

    #[test]
    fn long_writes_and_those_beyond_the_file_are_left_to_the_system() {
        let (_dir, file) = file_of(WINDOW_BYTES);
        let mut window = window();
        assert!(!window.write(&file, 0, &[1; SMALL_BYTES + 1]));
        assert!(window.write(&file, WINDOW_BYTES - 4, b"last"));
        assert!(!window.write(&file, WINDOW_BYTES - 3, b"last"));
        assert!(!window.write(&file, 10 * WINDOW_BYTES, b"far"));
    }

    #[test]
    fn a_file_that_shrinks_takes_its_window_with_it() {
        let (_dir, file) = file_of(WINDOW_BYTES);
        let mut window = window();
        assert!(window.write(&file, WINDOW_BYTES - 8, b"gone"));
        window.close();
        file.set_len(10).unwrap();
        assert!(!window.write(&file, WINDOW_BYTES - 8, b"gone"));
        assert!(window.write(&file, 2, b"kept"));
    }
}
