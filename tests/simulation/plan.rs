//! What one seed decides before the run begins: how large the cluster is, how long the run, which faults come how often,
//! and which deliberate bug is in it. Knows nothing of how faults are carried out.

use ringfort::durability::DurabilityMode;
use ringfort_cluster::sim::{Micros, NetworkSettings, SimRng};

/// Voters of every shard.
pub const VOTERS: usize = 3;
/// Two clocks that differ by twice as much are within the margin of a lease.
const DRIFT_PPM_MAX: u64 = 80_000;
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
    /// A node that lost its disk comes back under its old replica ids, as its shards began.
    WipedVoterReturns,
    /// A node that lost its disk comes back under its old replica ids, as if they had just been given out.
    ReplicaIdReused,
    /// A leader reads under its lease while it hands the leadership over.
    LeaseKeptInTransfer,
    /// A replica comes back with the membership that its shard began with.
    MembershipForgotten,
    /// Now and then a message reaches the replica of another shard.
    MessageOfAnotherShard,
    /// A leader does not check that another change of the membership is under way: it makes one change of several votes several changes,
    /// and proposes them all at once.
    ChangeUncheckedForOthers,
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
        Self::ReplicaIdReused,
        Self::LeaseKeptInTransfer,
        Self::MembershipForgotten,
        Self::MessageOfAnotherShard,
        Self::ChangeUncheckedForOthers,
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
                | Self::LeaseKeptInTransfer
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
    /// A node that leads is cut off.
    LeaderCutOff,
    BadNetwork,
    ClockJump,
    /// The disk is lost: the machine comes back as a new node.
    Wipe,
    /// Somebody has a shard led by another replica, as the steward does for balance.
    Transfer,
    /// A transfer, and a partition while it is under way.
    TransferCutOff,
    /// Who leads a group and whom it gives votes are cut off from the others while it does. Comes with changes, not by itself.
    ChangeCutOff,
    /// A node that is not part of the cluster joins it.
    Join,
    /// A node is to hold nothing any more.
    Leave,
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
        Self::LeaderCutOff,
        Self::BadNetwork,
        Self::ClockJump,
        Self::Wipe,
        Self::Transfer,
        Self::TransferCutOff,
        Self::Join,
        Self::Leave,
    ];
}

/// What the seed decides.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub bug: Option<Bug>,
    /// Nodes with which the cluster begins.
    pub nodes: usize,
    /// Nodes that may join it.
    pub spares: usize,
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
    /// Changes of voters are cut off now and then.
    pub cuts_changes: bool,
    /// Replicas are told, now and then, that their leader's process has ended: it may have or not.
    pub has_rumours: bool,
    pub network: NetworkSettings,
    /// Between two commands of a client, at most.
    pub think_us: Micros,
    pub tick_us: Micros,
    pub segment_bytes: u64,
    /// How much faster or slower than true time clocks run, at most, in millionths.
    pub drift_ppm: u64,
    /// After so many ticks of silence a node is replaced.
    pub replace_after_ticks: u64,
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
        let plan = Self {
            seed,
            bug,
            nodes: VOTERS + [0, 0, 1, 1, 2][rng.index(5)],
            spares: rng.index(2),
            workers: 1 + rng.index(2),
            shards: 1 + [0, 0, 1, 1, 2][rng.index(5)],
            keys: 2 + rng.index(4),
            clients: 2 + rng.index(4),
            mode: match always {
                true => DurabilityMode::Always,
                false => DurabilityMode::Everysec,
            },
            calm_at: rng.between(2, 6) * SECOND,
            fault_every: rng.between(80, 600) * MILLISECOND,
            faults,
            // A chance of its own, so that the other seeds stay what they were.
            cuts_changes: SimRng::new(seed ^ 0xC07).one_in(4),
            has_rumours: SimRng::new(seed ^ 0x607E).one_in(2),
            network: NetworkSettings {
                delay_us: (50, rng.between(200, 3000)),
                ..NetworkSettings::default()
            },
            think_us: rng.between(5, 60) * MILLISECOND,
            tick_us: rng.between(10, 20) * MILLISECOND,
            drift_ppm: [200, 200, DRIFT_PPM_MAX][rng.index(3)],
            replace_after_ticks: [60, 100, 100_000][rng.index(3)],
            segment_bytes: rng.between(4, 24) * 1024,
            snapshot_bytes: rng.between(4, 64) * 1024,
        };
        // What has to do with few replicas shows soonest where there are few.
        let plan = match bug.is_some_and(Bug::is_rare) {
            true => Self {
                nodes: VOTERS,
                spares: 0,
                shards: 1,
                ..plan
            },
            false => plan,
        };
        match bug {
            // It shows only where who votes falls and comes back within one election.
            Some(Bug::TermLostAtRestart) => Self {
                calm_at: 6 * SECOND,
                fault_every: 80 * MILLISECOND,
                faults: vec![Fault::Crash, Fault::LeaderCutOff],
                ..plan
            },
            // These two show only while two replicas take themselves for the leader: clients must be quick then.
            Some(Bug::ReadWithoutLease) => Self {
                clients: 8,
                keys: 1,
                calm_at: 6 * SECOND,
                fault_every: 500 * MILLISECOND,
                drift_ppm: DRIFT_PPM_MAX,
                think_us: 4 * MILLISECOND,
                faults: vec![Fault::Pause, Fault::LeaderCutOff],
                ..plan
            },
            Some(Bug::LeaseKeptInTransfer) => Self {
                clients: 8,
                keys: 2,
                calm_at: 6 * SECOND,
                fault_every: 400 * MILLISECOND,
                drift_ppm: DRIFT_PPM_MAX,
                think_us: 6 * MILLISECOND,
                ..plan
            },
            // Only who loses the vote and is there all the same can do harm with those that have not heard of it.
            Some(Bug::ChangeUncheckedForOthers) => Self {
                nodes: VOTERS + 1,
                spares: 1,
                cuts_changes: true,
                calm_at: 6 * SECOND,
                network: NetworkSettings {
                    delay_us: (MILLISECOND, 8 * MILLISECOND),
                    ..plan.network
                },
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
        Some(Bug::LeaseKeptInTransfer) => vec![Fault::TransferCutOff; 12],
        Some(Bug::WipedVoterReturns | Bug::ReplicaIdReused) => vec![Fault::Wipe; 4],
        Some(Bug::MembershipForgotten) => vec![Fault::Crash, Fault::Join, Fault::Wipe],
        Some(Bug::ChangeUncheckedForOthers) => vec![Fault::Join, Fault::Leave, Fault::Join],
        Some(Bug::DamageAccepted) => vec![Fault::FlippedBit; 3],
        _ => Vec::new(),
    }
}
