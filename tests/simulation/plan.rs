//! What one seed decides before the run begins: how large the cluster is, how long the run, which faults come how often,
//! and which deliberate bug is in it. Knows nothing of how faults are carried out.

use ringfort::durability::DurabilityMode;
use ringfort_cluster::sim::{Micros, NetworkSettings, SimRng};

/// Nodes, each with one voter of every shard.
pub const NODES: usize = 3;
pub const MILLISECOND: Micros = 1000;
pub const SECOND: Micros = 1000 * MILLISECOND;

/// A mistake put in on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A replica comes back without its term and vote.
    TermLostAtRestart,
    /// Term and vote are not written.
    VoteNotWritten,
    /// What a replica promises leaves before the sync.
    AnswerBeforeSync,
    /// What a replica promises leaves before the write.
    AnswerBeforeWrite,
    /// Under `everysec` a replica comes back from a power cut as if nothing had happened.
    SuspectIgnored,
    /// A leader answers reads from its own state, asking nobody.
    ReadWithoutLease,
    /// Any replica answers reads from its own state.
    ReadFromFollower,
    /// A write is answered when it is proposed.
    ReplyBeforeCommit,
    /// A snapshot says an index before its data: its last entry is applied twice.
    EntryAppliedTwice,
    /// A snapshot says a later index than its data has.
    SnapshotBehindItsIndex,
    /// A snapshot that is sent lacks a key.
    SnapshotIncomplete,
    /// The last written entries are dropped at recovery.
    LogTruncatedAtRecovery,
    /// A damaged log is cut silently.
    DamageAccepted,
    /// The log is freed as far as it is applied, not as far as the snapshot reaches.
    LogFreedTooEarly,
    /// A new leader stamps by its own clock alone.
    StampGoesBack,
    /// A new leader proposes before it has applied what its log holds.
    ProposesTooEarly,
    /// A leader that lost its leadership still answers for what it proposed.
    WaitersKept,
    /// What was under way when the leader was lost is reported as certainly not applied.
    UnknownToldAsFailed,
    /// The router repeats writes whose outcome is unknown.
    UnknownRepeated,
    /// A node that lost its disk comes back under its old replica id.
    WipedVoterReturns,
    /// Now and then a message reaches the replica of another shard.
    MessageOfAnotherShard,
}

impl Bug {
    pub const ALL: &[Self] = &[
        Self::TermLostAtRestart,
        Self::VoteNotWritten,
        Self::AnswerBeforeSync,
        Self::AnswerBeforeWrite,
        Self::SuspectIgnored,
        Self::ReadWithoutLease,
        Self::ReadFromFollower,
        Self::ReplyBeforeCommit,
        Self::EntryAppliedTwice,
        Self::SnapshotBehindItsIndex,
        Self::SnapshotIncomplete,
        Self::LogTruncatedAtRecovery,
        Self::DamageAccepted,
        Self::LogFreedTooEarly,
        Self::StampGoesBack,
        Self::ProposesTooEarly,
        Self::WaitersKept,
        Self::UnknownToldAsFailed,
        Self::UnknownRepeated,
        Self::WipedVoterReturns,
        Self::MessageOfAnotherShard,
    ];
}

impl Bug {
    /// Whether it takes more than a handful of seeds to show.
    pub fn is_rare(self) -> bool {
        matches!(
            self,
            Self::TermLostAtRestart
                | Self::ReadWithoutLease
                | Self::WaitersKept
                | Self::AnswerBeforeSync
                | Self::AnswerBeforeWrite
                | Self::ReplyBeforeCommit
        )
    }
}

/// The kinds of faults, for drawing and for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process dies between two of its steps.
    Crash,
    /// The process dies within a call to the disk, which takes effect in part or not at all.
    CrashInDiskCall,
    /// The machine loses power: of what was not synced anything may be missing.
    PowerCut,
    /// The process ends in order and comes back.
    OrderlyRestart,
    /// Bits of the log or of a snapshot turn over while the process is down.
    FlippedBit,
    FullDisk,
    FailedSync,
    FailedWrite,
    ShortWrites,
    /// The disk takes up to seconds for a sync.
    SlowDisk,
    /// The process stands still for longer than an election takes.
    Pause,
    Partition,
    FlappingPartition,
    BadNetwork,
    ClockJump,
    /// The disk is lost (only as part of a deliberate bug).
    Wipe,
}

impl Fault {
    pub const DRAWN: &[Self] = &[
        Self::Crash,
        Self::CrashInDiskCall,
        Self::PowerCut,
        Self::OrderlyRestart,
        Self::FlippedBit,
        Self::FullDisk,
        Self::FailedSync,
        Self::FailedWrite,
        Self::ShortWrites,
        Self::SlowDisk,
        Self::Pause,
        Self::Partition,
        Self::FlappingPartition,
        Self::BadNetwork,
        Self::ClockJump,
    ];
}

/// What the seed decides.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub bug: Option<Bug>,
    pub workers: usize,
    pub shards: u16,
    pub keys: usize,
    pub clients: usize,
    pub mode: DurabilityMode,
    /// Faults come until then.
    pub calm_at: Micros,
    /// Between two faults, on average.
    pub fault_every: Micros,
    /// The kinds of this run: few kinds at a time reach deeper than all of them in one soup.
    pub faults: Vec<Fault>,
    pub network: NetworkSettings,
    /// Between two commands of a client, at most.
    pub think_us: Micros,
    pub tick_us: Micros,
    pub segment_bytes: u64,
    /// A shard is snapshotted each time its worker's log has grown by so much.
    pub snapshot_bytes: u64,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = SimRng::new(seed ^ 0x5EED);
        let always = match bug {
            Some(Bug::AnswerBeforeSync) => true,
            Some(Bug::SuspectIgnored) => false,
            _ => !rng.one_in(3),
        };
        let mut faults: Vec<Fault> = Fault::DRAWN
            .iter()
            .copied()
            .filter(|_| rng.one_in(3))
            .collect();
        faults.push(Fault::DRAWN[rng.index(Fault::DRAWN.len())]);
        faults.extend(provoking(bug));
        if bug == Some(Bug::WipedVoterReturns) {
            faults.push(Fault::Wipe);
        }
        // Under `everysec` a machine that lost power comes back as a new replica, which needs a change of membership.
        if !always && bug != Some(Bug::SuspectIgnored) {
            faults.retain(|fault| *fault != Fault::PowerCut);
            faults.push(Fault::Crash);
        }
        let plan = Self {
            seed,
            bug,
            workers: 1 + rng.index(2),
            shards: 1 + rng.below(3) as u16,
            keys: 2 + rng.index(4),
            clients: 2 + rng.index(4),
            mode: match always {
                true => DurabilityMode::Always,
                false => DurabilityMode::Everysec,
            },
            calm_at: rng.between(2, 6) * SECOND,
            fault_every: rng.between(80, 600) * MILLISECOND,
            faults,
            network: NetworkSettings {
                delay_us: (50, rng.between(200, 3000)),
                ..NetworkSettings::default()
            },
            think_us: rng.between(5, 60) * MILLISECOND,
            tick_us: rng.between(10, 20) * MILLISECOND,
            segment_bytes: rng.between(4, 24) * 1024,
            snapshot_bytes: rng.between(4, 64) * 1024,
        };
        match bug {
            // It shows only while two replicas take themselves for the leader: clients must be quick then.
            Some(Bug::ReadWithoutLease) => Self {
                clients: 8,
                keys: 2,
                calm_at: 6 * SECOND,
                fault_every: 400 * MILLISECOND,
                think_us: 6 * MILLISECOND,
                ..plan
            },
            _ => plan,
        }
    }
}

/// Faults without which the bug would rest.
fn provoking(bug: Option<Bug>) -> Vec<Fault> {
    match bug {
        Some(Bug::AnswerBeforeSync | Bug::SuspectIgnored) => vec![Fault::PowerCut; 3],
        Some(Bug::ReadWithoutLease) => vec![Fault::Partition; 12],
        Some(Bug::DamageAccepted) => vec![Fault::FlippedBit; 3],
        _ => Vec::new(),
    }
}
