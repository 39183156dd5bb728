//! A node with one worker and nobody else, for the tests of what a worker does between its turns. Serves no sockets.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::commands::registry;
use crate::protocol::OwnedArgs;
use crate::settings::Builder;

use super::outbox::Target;
use super::report::Identity;
use super::{Node, Shared, Worker};

/// A node with one worker, two shards, and the meta group behind them.
pub struct Alone {
    pub worker: Worker,
    pub node: Node,
}

impl Alone {
    /// As the directory has it.
    pub fn start(dir: &Path, durability: &str) -> Self {
        let flags = [
            ("dir", dir.to_str().unwrap()),
            ("shards", "2"),
            ("threads", "1"),
            ("durability", durability),
        ];
        let settings = Arc::new(Builder::new().flags(flags).unwrap().build());
        let shared = Shared::new(settings, Identity::default(), 3);
        let mut node = Node::load_alone(shared).unwrap();
        let parts = node.take_parts().remove(0);
        let worker = Worker::start(parts);
        Self { worker, node }
    }

    /// Sets keys of one shard. The turn goes on.
    pub fn write(&mut self, place: usize, keys: Range<usize>, value: &str) {
        for key in keys {
            let text = format!("key:{key}");
            let args = OwnedArgs::new(["SET", &text, value]);
            let set = registry().find(b"SET").unwrap();
            let shard = &mut self.worker.shards[place];
            let was_idle = shard.is_idle();
            let asked = shard.ask_write(0, &args.as_args(), set, None, Target::NOBODY);
            asked.unwrap();
            self.worker.mark_dirty(place, was_idle, 100);
        }
    }

    pub fn stop(self) {
        self.worker.stop();
        self.node.close();
    }
}
