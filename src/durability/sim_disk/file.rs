//! The bytes of one simulated file: what reading sees, and what of it would survive a power cut.

use std::collections::BTreeMap;

use super::{below, SECTOR_BYTES};

type Sector = [u8; SECTOR_BYTES];

#[derive(Default)]
pub(super) struct SimFile {
    data: Vec<u8>,
    durable_len: usize,
    /// The durable content of sectors that were written since.
    before: BTreeMap<usize, Sector>,
    /// The durable content of sectors that a failed sync gave up: the cache takes them for clean.
    forgotten: BTreeMap<usize, Sector>,
}

impl SimFile {
    pub fn len(&self) -> u64 {
        self.data.len() as u64
    }

    pub fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.data.get(offset..))
            .unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        len
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8], random: &mut u64) {
        let offset = offset as usize;
        let end = offset + bytes.len();
        if bytes.is_empty() {
            return;
        }
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let written_back = self.before.contains_key(&sector) && below(random, 4) == 0;
            if written_back {
                // The cache wrote the sector to the disk on its own, as it stood between two writes.
                let now = self.sector(sector);
                self.before.insert(sector, now);
            }
            self.touch(sector);
        }
        if end > self.data.len() {
            self.data.resize(end, 0);
        }
        self.data[offset..end].copy_from_slice(bytes);
    }

    pub fn set_len(&mut self, len: u64) {
        let len = len as usize;
        for sector in len / SECTOR_BYTES..self.data.len().div_ceil(SECTOR_BYTES) {
            self.touch(sector);
        }
        self.data.resize(len, 0);
    }

    pub fn sync(&mut self) {
        self.before.clear();
        self.durable_len = self.data.len();
    }

    pub fn sync_failed(&mut self) {
        self.forgotten.append(&mut self.before);
    }

    pub fn power_cut(&mut self, random: &mut u64) {
        if self.data.len() != self.durable_len && below(random, 2) == 0 {
            self.data.resize(self.durable_len, 0);
        }
        let mut fall_back = std::mem::take(&mut self.forgotten);
        for (sector, content) in std::mem::take(&mut self.before) {
            if below(random, 2) == 0 {
                fall_back.insert(sector, content);
            }
        }
        for (sector, content) in fall_back {
            let start = sector * SECTOR_BYTES;
            if start < self.data.len() {
                let end = (start + SECTOR_BYTES).min(self.data.len());
                self.data[start..end].copy_from_slice(&content[..end - start]);
            }
        }
        self.durable_len = self.data.len();
    }

    pub fn flip_bit(&mut self, bit: u64) -> bool {
        let at = (bit / 8) as usize;
        let mask = 1 << (bit % 8);
        match self.data.get_mut(at) {
            Some(byte) => *byte ^= mask,
            None => return false,
        }
        for known in [&mut self.before, &mut self.forgotten] {
            if let Some(sector) = known.get_mut(&(at / SECTOR_BYTES)) {
                sector[at % SECTOR_BYTES] ^= mask;
            }
        }
        true
    }

    /// Remembers a sector's durable content before it changes.
    fn touch(&mut self, sector: usize) {
        let content = match self.forgotten.remove(&sector) {
            Some(content) => content,
            None => self.sector(sector),
        };
        self.before.entry(sector).or_insert(content);
    }

    fn sector(&self, sector: usize) -> Sector {
        let mut content = [0; SECTOR_BYTES];
        self.read((sector * SECTOR_BYTES) as u64, &mut content);
        content
    }
}
