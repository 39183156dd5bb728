//! Which node leads which slot, as the cluster last said.

use std::collections::BTreeSet;

use ringfort_cluster::slot_of;

/// How many slots there are.
pub const SLOTS: usize = ringfort_cluster::SLOTS as usize;

/// The slot of a key.
pub fn slot(key: &str) -> usize {
    slot_of(key.as_bytes()).0.into()
}

/// By slot: the number of its node in `nodes`.
pub struct Map {
    pub nodes: Vec<String>,
    slots: Vec<Option<u16>>,
}

impl Default for Map {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            slots: vec![None; SLOTS],
        }
    }
}

impl Map {
    /// Takes up what CLUSTER NODES says. Gives the nodes that stand in it.
    pub fn take_up(&mut self, text: &str) -> BTreeSet<String> {
        let mut listed = BTreeSet::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(address) = words.get(1).and_then(|word| word.split('@').next()) else {
                continue;
            };
            listed.insert(address.to_owned());
            for range in words.iter().skip(8).filter(|word| !word.starts_with('[')) {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
                    continue;
                };
                (first..=last.min(SLOTS - 1)).for_each(|slot| self.moved(slot, address));
            }
        }
        listed
    }

    /// A node said who leads a slot.
    pub fn moved(&mut self, slot: usize, address: &str) {
        let known = self.nodes.iter().position(|node| node == address);
        let at = known.unwrap_or_else(|| {
            self.nodes.push(address.to_owned());
            self.nodes.len() - 1
        });
        self.slots[slot] = Some(at as u16);
    }

    pub fn node_of(&self, slot: usize) -> Option<usize> {
        self.slots[slot].map(usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_nodes_says_who_leads_what() {
        let mut map = Map::default();
        let listed = map.take_up(
            "aa 127.0.0.1:7001@17001,host master - 0 0 1 connected 0-99 200\n\
             bb 127.0.0.1:7002@17002 myself,master - 0 0 1 connected 100-199\n",
        );
        assert_eq!(listed.len(), 2);
        let address = |map: &Map, slot| map.node_of(slot).map(|at| map.nodes[at].clone());
        assert_eq!(address(&map, 200).as_deref(), Some("127.0.0.1:7001"));
        assert_eq!(address(&map, 150).as_deref(), Some("127.0.0.1:7002"));
        assert_eq!(address(&map, 201), None);
        map.moved(150, "127.0.0.1:7003");
        assert_eq!(address(&map, 150).as_deref(), Some("127.0.0.1:7003"));
        assert_eq!(slot("123456789"), 0x31C3);
    }
}
