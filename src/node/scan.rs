//! SCAN over shards, and RANDOMKEY.
//!
//! A cursor names the shard in its upper bits and, below, the first 48 bits of the hash to go on from: keyspaces
//! are walked in order of hash, whose segments end far above the bits that are cut off.

use crate::commands::CommandError;
use crate::protocol::{OwnedArgs, Proto, Reply};

use super::fan::line_end;
use super::io::ConnKey;
use super::outbox::Target;
use super::router::Question;
use super::shard::Shard;
use super::worker::Worker;

/// Bits of the hash in a cursor.
const HASH_BITS: u32 = 48;
/// What SCAN visits without COUNT.
const COUNT_DEFAULT: usize = 10;

/// Where a SCAN goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    shard: u16,
    hash: u64,
}

impl Cursor {
    fn decode(number: u64) -> Self {
        let shard = (number >> HASH_BITS) as u16;
        Self {
            shard,
            hash: (number & ((1 << HASH_BITS) - 1)) << (64 - HASH_BITS),
        }
    }

    fn encode(self) -> u64 {
        (u64::from(self.shard) << HASH_BITS) | (self.hash >> (64 - HASH_BITS))
    }
}

/// A SCAN on its way over the shards.
struct Scan {
    target: Target,
    command: &'static crate::commands::Registered,
    args: OwnedArgs,
    database: u16,
    cursor: Cursor,
    /// Shards that other nodes lead are passed over.
    led_only: bool,
    wanted: usize,
    /// Keys that matched, as replies, and how many were asked for.
    found: Vec<u8>,
    count: usize,
    visits_left: usize,
}

impl Worker {
    pub(super) fn scan(&mut self, question: &Question, conn: ConnKey, wanted: bool) {
        let target = self.io.target(conn, question.proto, wanted);
        self.scan_for(question, target, self.io.led_only);
    }

    /// SCAN for whoever waits, here or on another node. `led_only` is the asker's: what this worker's last client came by says nothing of it.
    pub(super) fn scan_for(&mut self, question: &Question, target: Target, led_only: bool) {
        let number = std::str::from_utf8(question.args.at(1))
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        let Some(number) = number else {
            return self.complete_error(target, "ERR invalid cursor");
        };
        let count = (2..question.args.len().saturating_sub(1))
            .find(|&at| question.args.at(at).eq_ignore_ascii_case(b"count"))
            .and_then(|at| crate::store::canonical_int(question.args.at(at + 1)))
            .map_or(COUNT_DEFAULT, |count| count.max(1) as usize);
        let scan = Scan {
            target,
            command: question.command,
            args: OwnedArgs::new(question.args.from(0)),
            database: question.database,
            cursor: Cursor::decode(number),
            led_only,
            wanted: count,
            found: Vec::new(),
            count: 0,
            visits_left: count,
        };
        self.scan_on(scan);
    }

    /// Goes on with a scan on this worker, and hands it on where the next shard lives elsewhere.
    fn scan_on(&mut self, mut scan: Scan) {
        self.flush();
        loop {
            if scan.cursor.shard >= self.map.shards() {
                return self.end_scan(scan, 0);
            }
            let home = self.worker_of(scan.cursor.shard);
            if home != self.number {
                return self.task(home, move |there| there.scan_on(scan));
            }
            let place = self.place(scan.cursor.shard);
            if scan.led_only && !self.shards[place].leads() {
                scan.cursor = Cursor {
                    shard: scan.cursor.shard + 1,
                    hash: 0,
                };
                continue;
            }
            if !self.shards[place].may_read(self.monotonic()) {
                return self.scan_elsewhere(scan);
            }
            match self.scan_step(&mut scan) {
                Err(error) => return self.complete_error(scan.target, &error),
                Ok(visited) => scan.visits_left = scan.visits_left.saturating_sub(visited),
            }
            if scan.count >= scan.wanted || scan.visits_left == 0 {
                let at_end = scan.cursor.shard >= self.map.shards();
                let cursor = if at_end { 0 } else { scan.cursor.encode() };
                return self.end_scan(scan, cursor);
            }
        }
    }

    /// The next shard is led by another node: what was found so far is an answer; else that node goes on from there.
    fn scan_elsewhere(&mut self, scan: Scan) {
        let cursor = scan.cursor.encode();
        if scan.count > 0 {
            return self.end_scan(scan, cursor);
        }
        let (given, cursor) = (scan.args.as_args(), cursor.to_string());
        let args = OwnedArgs::new(
            [given.at(0), cursor.as_bytes()]
                .into_iter()
                .chain(given.from(2)),
        );
        let question = Question {
            command: scan.command,
            args: args.as_args(),
            database: scan.database,
            proto: scan.target.proto,
        };
        self.ask_elsewhere(&question, scan.cursor.shard, scan.target);
    }

    /// One step on one shard; the shard's handler sees the hash as its cursor. Returns about how many keys it
    /// has visited.
    fn scan_step(&mut self, scan: &mut Scan) -> Result<usize, String> {
        let place = self.place(scan.cursor.shard);
        let hash = scan.cursor.hash.to_string();
        let given = scan.args.as_args();
        let args = OwnedArgs::new(
            [given.at(0), hash.as_bytes()]
                .into_iter()
                .chain(given.from(2)),
        );
        let mut out = Vec::new();
        let (now, seed) = (self.now(), self.rng.next_u64());
        let shard = &self.shards[place];
        let args = args.as_args();
        let call = shard.read_call(args, scan.database, now, seed, Proto::Resp2);
        shard.read(scan.command, &call, &mut out);
        let (next, keys, count) = parse_step(&out)?;
        scan.found.extend_from_slice(keys);
        scan.count += count;
        let is_empty = shard.databases.keyspace(scan.database).is_empty();
        scan.cursor = match next {
            0 => Cursor {
                shard: scan.cursor.shard + 1,
                hash: 0,
            },
            hash => Cursor {
                hash,
                ..scan.cursor
            },
        };
        // An empty shard is passed for free, so that a small keyspace needs few calls.
        Ok(if is_empty { 0 } else { count.max(1) })
    }

    fn end_scan(&mut self, scan: Scan, cursor: u64) {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, scan.target.proto);
        reply.array(2);
        reply.bulk(cursor.to_string().as_bytes());
        reply.array(scan.count);
        reply.raw(&scan.found);
        self.io.complete(scan.target, &out);
        self.flush_wanted = true;
    }

    /// RANDOMKEY: a shard drawn by its number of keys, and there a key.
    pub(super) fn draw(&mut self, question: &Question, conn: ConnKey, wanted: bool) {
        let target = self.io.target(conn, question.proto, wanted);
        let command = question.command;
        let args = OwnedArgs::new(question.args.from(0));
        let led_only = self.io.led_only;
        let to = match led_only {
            true => self.drawn_worker_of_led(),
            false => self.drawn_worker(question.database),
        };
        let database = question.database;
        let hops = self.workers;
        self.task(to, move |there| {
            there.draw_here(command, args, database, target, (led_only, hops))
        });
    }

    /// Chance decides between here and the next worker by how much of the keys is here.
    fn drawn_worker(&mut self, database: u16) -> u16 {
        let all = self.shared.stats.databases();
        let total = all.iter().map(|size| size.keys).sum::<u64>().max(1);
        let own: u64 = self
            .shards
            .iter()
            .map(|s| s.databases.keyspace(database).len() as u64)
            .sum();
        let here = self.workers == 1 || self.rng.below(total as usize) < own as usize;
        match here {
            true => self.number,
            false => (self.number + 1) % self.workers,
        }
    }

    /// That of a shard drawn from those that this node leads: they have about as many keys each.
    fn drawn_worker_of_led(&mut self) -> u16 {
        let shards = 0..self.map.shards();
        let led: Vec<u16> = shards.filter(|&shard| self.shared.leads(shard)).collect();
        match led.len() {
            0 => self.number,
            count => {
                let drawn = self.rng.below(count);
                self.worker_of(led[drawn])
            }
        }
    }

    /// `led_only`: keys that other nodes lead are passed over. `hops`: workers that may still be asked.
    fn draw_here(
        &mut self,
        command: &'static crate::commands::Registered,
        args: OwnedArgs,
        database: u16,
        target: Target,
        (led_only, hops): (bool, u16),
    ) {
        self.flush();
        let len = |shard: &Shard| match led_only && !shard.leads() {
            true => 0,
            false => shard.databases.keyspace(database).len(),
        };
        let lens: Vec<usize> = self.shards.iter().map(len).collect();
        let total: usize = lens.iter().sum();
        if total == 0 && hops > 0 {
            let next = (self.number + 1) % self.workers;
            if next != self.number {
                return self.task(next, move |there| {
                    there.draw_here(command, args, database, target, (led_only, hops - 1))
                });
            }
        }
        if total == 0 && led_only {
            let mut nothing = Vec::new();
            Reply::new(&mut nothing, target.proto).null();
            self.flush_wanted = true;
            return self.io.complete(target, &nothing);
        }
        let mut out = Vec::new();
        let (now, seed) = (self.now(), self.rng.next_u64());
        let first = self.drawn_place(&lens, total);
        let drawn = &self.shards[first];
        if !drawn.standing.decides_alone {
            let question = Question {
                command,
                args: args.as_args(),
                database,
                proto: target.proto,
            };
            let shard = drawn.id.0;
            return self.send(&question, shard, target);
        }
        // The drawn shard may hold nothing but keys that are due: then any other serves.
        for offset in 0..self.shards.len() {
            out.clear();
            let place = (first + offset) % self.shards.len();
            let shard = &self.shards[place];
            let call = shard.read_call(args.as_args(), database, now, seed, target.proto);
            shard.read(command, &call, &mut out);
            if out.first() == Some(&b'$') && out.get(1) != Some(&b'-') {
                break;
            }
        }
        self.io.complete(target, &out);
        self.flush_wanted = true;
    }

    fn drawn_place(&mut self, lens: &[usize], total: usize) -> usize {
        if total == 0 {
            return 0;
        }
        let mut drawn = self.rng.below(total);
        for (place, &len) in lens.iter().enumerate() {
            match drawn.checked_sub(len) {
                Some(rest) => drawn = rest,
                None => return place,
            }
        }
        0
    }
}

/// `[cursor, [key, ...]]` of a shard's SCAN: the cursor, the keys as replies, and how many.
fn parse_step(reply: &[u8]) -> Result<(u64, &[u8], usize), String> {
    if reply.first() == Some(&b'-') {
        let text = String::from_utf8_lossy(&reply[1..reply.len() - 2]).into_owned();
        return Err(text);
    }
    let broken = || {
        CommandError::new("ERR SCAN answered something else than a cursor and keys")
            .text()
            .to_string()
    };
    let header = line_end(reply);
    let length = line_end(&reply[header..]);
    let digits = &reply[header + length..];
    let digits_end = line_end(digits);
    let text = std::str::from_utf8(&digits[..digits_end - 2]).map_err(|_| broken())?;
    let next = text.parse().map_err(|_| broken())?;
    let keys = &digits[digits_end..];
    let keys_header = line_end(keys);
    let count = std::str::from_utf8(&keys[1..keys_header - 2])
        .ok()
        .and_then(|text| text.parse().ok());
    Ok((next, &keys[keys_header..], count.ok_or_else(broken)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        for shard in [0, 1, 63, 16_383] {
            for hash in [0, 1 << 16, 0xABCD_EF01_2345_0000, u64::MAX << 16] {
                let cursor = Cursor { shard, hash };
                assert_eq!(Cursor::decode(cursor.encode()), cursor);
                assert!(cursor.encode() < 1 << 62);
            }
        }
    }

    #[test]
    fn a_step_is_taken_apart() {
        let reply = b"*2\r\n$3\r\n512\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n";
        assert_eq!(
            parse_step(reply),
            Ok((512, &b"$1\r\na\r\n$1\r\nb\r\n"[..], 2))
        );
        assert_eq!(parse_step(b"-ERR no\r\n"), Err("ERR no".into()));
    }
}
