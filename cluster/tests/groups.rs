//! Groups of several replicas over simulated time and a network that loses and delays: elections within their bounds, leases
//! that end before another leader can be elected, reads that are never stale, and changes of the membership through
//! it all. The same seed gives the same run.

mod group;
mod group_recovery;

use group::{Group, FRESH_US, TICK_US};
use ringfort_cluster::replica::{ChangeError, MembershipChange};
use ringfort_cluster::ReplicaId;

const SECOND_US: u64 = 1_000_000;

/// From a follower's last heartbeat to its candidacy at most 14 ticks, 7 of jitter and a late one; then the election,
/// which may take further attempts when messages are late.
const FAILOVER_US_MAX: u64 = (14 + 7 + 1) * TICK_US + 1_000_000;

#[test]
fn a_dead_leader_is_followed_by_another_within_bounds() {
    for seed in 0..40 {
        let mut group = Group::new(seed, &[1, 2, 3]);
        let old = group.wait_for_leader(3 * SECOND_US);
        group.propose(old);
        group.run(SECOND_US);
        group.crash(old);
        let died = group.time_us();
        let new = group.wait_for_leader(FAILOVER_US_MAX);
        assert_ne!(new, old, "seed {seed}");
        let took = group.time_us() - died;
        assert!(took >= 9 * TICK_US, "seed {seed}: a lease may still run");
        group.wait_until("lease", SECOND_US, |group| group.can_read(new));
    }
}

/// How long the group is without a leader when this one's process ends and the others are told, after a while; `also` dies with it.
fn failover_in_haste_us(seed: u64, ids: &[u64], also: usize) -> u64 {
    let mut group = Group::new(seed, ids);
    let old = group.wait_for_leader(3 * SECOND_US);
    group.run(SECOND_US + seed * 7_000);
    group.propose(old);
    group.run(20_000);
    group.crash(old);
    let others = ids.iter().filter(|&&id| id != old);
    others.take(also).for_each(|&id| group.crash(id));
    let died = group.time_us();
    group.run(80_000);
    group.tell_gone(old);
    let new = group.wait_for_leader(FAILOVER_US_MAX);
    let took = group.time_us() - died;
    assert!(took >= 9 * TICK_US, "seed {seed}: a lease may still run");
    group.wait_until("lease", SECOND_US, |group| group.can_read(new));
    took
}

/// The median of 40 runs: the network has messages that come late, and then the others decide later.
fn median_in_haste_us(ids: &[u64], also: usize) -> u64 {
    let mut times: Vec<u64> = (0..40)
        .map(|seed| failover_in_haste_us(seed, ids, also))
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_leader_whose_process_has_ended_is_followed_as_soon_as_no_promise_binds() {
    let median = median_in_haste_us(&[1, 2, 3], 0);
    assert!(median <= (10 + 1 + 2) * TICK_US, "{median} us");
}

#[test]
fn the_second_in_line_stands_when_the_first_cannot() {
    let median = median_in_haste_us(&[1, 2, 3, 4, 5], 1);
    assert!(median <= (10 + 1 + 2 + 3) * TICK_US, "{median} us");
}

#[test]
fn who_is_told_wrongly_that_its_leader_is_gone_goes_on_to_follow_it() {
    for seed in 0..40 {
        let mut group = Group::new(seed, &[1, 2, 3]);
        let old = group.wait_for_leader(3 * SECOND_US);
        group.run(SECOND_US);
        let term = group.term(old);
        for _ in 0..100 {
            group.tell_gone(old);
            group.run(20_000);
            assert!(group.can_read(old), "seed {seed}");
        }
        assert_eq!(
            (group.leaders(), group.term(old)),
            (vec![old], term),
            "seed {seed}"
        );
    }
}

#[test]
fn a_leader_that_is_cut_off_and_taken_for_gone_loses_its_lease_before_another_is_elected() {
    for seed in 0..40 {
        let mut group = Group::new(seed, &[1, 2, 3]);
        let old = group.wait_for_leader(3 * SECOND_US);
        group.run(SECOND_US);
        group.isolate(old);
        while group.leaders() == [old] {
            group.tell_gone(old);
            group.step();
            let others_lead = group.leaders().iter().any(|&id| id != old);
            assert!(!(others_lead && group.can_read(old)), "seed {seed}");
            assert!(group.time_us() < 60 * SECOND_US, "seed {seed}: no election");
        }
    }
}

#[test]
fn the_failover_takes_about_a_second_in_the_median() {
    let mut times: Vec<u64> = (100..160)
        .map(|seed| {
            let mut group = Group::new(seed, &[1, 2, 3]);
            let old = group.wait_for_leader(3 * SECOND_US);
            group.run(SECOND_US);
            group.crash(old);
            let died = group.time_us();
            group.wait_for_leader(FAILOVER_US_MAX);
            group.time_us() - died
        })
        .collect();
    times.sort_unstable();
    let median = times[times.len() / 2];
    assert!(median <= 1_000_000, "median {median} us of {times:?}");
}

#[test]
fn a_partitioned_leader_loses_its_lease_before_another_is_elected() {
    for seed in 0..40 {
        let mut group = Group::new(seed, &[1, 2, 3]);
        let old = group.wait_for_leader(3 * SECOND_US);
        group.run(SECOND_US);
        assert!(group.can_read(old), "seed {seed}");
        group.isolate(old);
        let mut lost_at = None;
        let elected_at = loop {
            group.step();
            if lost_at.is_none() && !group.can_read(old) {
                lost_at = Some(group.time_us());
            }
            let another = group.leaders().into_iter().find(|&id| id != old);
            if another.is_some() {
                break group.time_us();
            }
            assert!(group.time_us() < 60 * SECOND_US, "seed {seed}: no election");
        };
        let lost_at = lost_at.expect("the lease ended first");
        assert!(
            lost_at <= elected_at,
            "seed {seed}: {lost_at} > {elected_at}"
        );
        // The old leader finds out by itself that nobody follows it.
        group.run(2 * SECOND_US);
        assert_eq!(group.leaders().len(), 1, "seed {seed}");
        group.heal();
        group.run(2 * SECOND_US);
        assert_eq!(group.leaders().len(), 1, "seed {seed}");
    }
}

#[test]
fn a_leader_that_was_paused_reads_nothing_afterwards() {
    let mut group = Group::new(5, &[1, 2, 3]);
    let old = group.wait_for_leader(3 * SECOND_US);
    group.run(SECOND_US);
    group.pause(old);
    group.run(5 * SECOND_US);
    let new = group.wait_for_leader(SECOND_US);
    assert_ne!(new, old);
    for _ in 0..20 {
        let id = group.propose(new);
        group.wait_until("write", SECOND_US, |group| group.is_acknowledged(id));
    }
    group.resume(old);
    // Still its own leader, before any message or tick: but the clock has gone on.
    assert!(!group.can_read(old));
    group.run(SECOND_US);
    assert_eq!(group.leaders(), [new]);
}

#[test]
fn a_restarted_voter_is_silent_for_one_election_timeout() {
    let mut group = Group::new(3, &[1, 2, 3]);
    let old = group.wait_for_leader(3 * SECOND_US);
    group.run(SECOND_US);
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|&id| id != old).collect();
    // One of the two that could elect another forgets what it promised; the old leader hears of nobody.
    group.isolate(old);
    group.run(8 * TICK_US);
    group.crash(others[0]);
    group.restart(others[0]);
    let restarted = group.time_us();
    group.wait_until("another leader", 4 * SECOND_US, |group| {
        group.leaders().iter().any(|&id| id != old)
    });
    // Its clock may be fast by half a percent.
    let silent = group.time_us() - restarted;
    assert!(silent >= 10 * TICK_US * 199 / 200, "{silent} us");
}

#[test]
fn reads_are_never_stale_whatever_is_lost() {
    for seed in 0..40 {
        let mut group = Group::new(1_000 + seed, &[1, 2, 3]);
        group.lose(seed % 4 * 10);
        group.chaos(30 * SECOND_US, |_, _| ());
        group.heal();
        group.lose(0);
        group.settle();
    }
}

#[test]
fn transfers_go_through_or_leave_a_leader_that_works() {
    for seed in 0..20 {
        let mut group = Group::new(2000 + seed, &[1, 2, 3]);
        group.lose(20);
        group.chaos(20 * SECOND_US, |group, draw| {
            if draw % 50 == 0 {
                for id in group.leaders() {
                    group.transfer(id, 1 + draw / 50 % 3);
                }
            }
        });
        group.heal();
        group.lose(0);
        group.settle();
    }
}

#[test]
fn the_membership_changes_under_loss_crashes_and_partitions() {
    for seed in 0..20 {
        let mut group = Group::new(3000 + seed, &[1, 2, 3]);
        group.lose(10);
        let mut newest = 3;
        group.chaos(60 * SECOND_US, |group, draw| {
            if draw % 20 == 0 {
                for id in group.leaders() {
                    newest = group.wander(id, draw / 20, newest);
                }
            }
        });
        assert!(
            group.changes() > 3,
            "seed {seed}: {} changes",
            group.changes()
        );
        group.heal();
        group.lose(0);
        group.settle();
    }
}

#[test]
fn a_voter_is_replaced_while_commands_go_on() {
    let mut group = Group::new(9, &[1, 2, 3]);
    let leader = group.wait_for_leader(3 * SECOND_US);
    let gone = if leader == 3 { 2 } else { 3 };
    group.run(SECOND_US);
    group.join(4);
    group
        .change(leader, MembershipChange::AddLearner(ReplicaId(4)))
        .unwrap();
    let replace = MembershipChange::ChangeVoters {
        promote: vec![ReplicaId(4)],
        demote: vec![ReplicaId(gone)],
    };
    group.wait_until("the replacement is possible", 5 * SECOND_US, |group| {
        group.propose(leader);
        match group.change(leader, replace.clone()) {
            Ok(_) => true,
            Err(ChangeError::NotCaughtUp { .. } | ChangeError::Running) => false,
            Err(error) => panic!("{error}"),
        }
    });
    group.wait_until("the replacement has ended", SECOND_US, |group| {
        let membership = group.membership(leader);
        !membership.is_joint() && membership.voters.contains(&ReplicaId(4))
    });
    let remove = MembershipChange::Remove(ReplicaId(gone));
    group.wait_until("the replaced one is removed", SECOND_US, |group| {
        group.change(leader, remove.clone()).is_ok()
    });
    group.run(SECOND_US);
    assert!(group.can_read(leader));
    assert!(!group.membership(leader).contains(ReplicaId(gone)));
}

/// Proposes until the change is taken, and gives how many proposals that took.
fn change_under_load(group: &mut Group, leader: u64, change: MembershipChange) -> u64 {
    let mut proposals = 0;
    group.wait_until("the change is taken", 10 * SECOND_US, |group| {
        group.propose(leader);
        proposals += 1;
        match group.change(leader, change.clone()) {
            Ok(_) => true,
            Err(
                ChangeError::NotCaughtUp { .. }
                | ChangeError::BeforeLog { .. }
                | ChangeError::Running
                | ChangeError::Busy,
            ) => false,
            Err(error) => panic!("{error}"),
        }
    });
    proposals
}

#[test]
fn a_group_grows_from_one_to_three_and_shrinks_again_under_constant_proposals() {
    for seed in 0..20 {
        let mut group = Group::new(4000 + seed, &[1]);
        let leader = group.wait_for_leader(3 * SECOND_US);
        group.wait_until("reads", SECOND_US, |group| group.can_read(leader));
        for _ in 0..100 {
            let proposal = group.propose(leader);
            assert!(group.is_acknowledged(proposal), "seed {seed}");
        }
        group.lose(seed % 3 * 10);
        let term = group.term(leader);
        for id in [2, 3] {
            group.join(id);
            let add = MembershipChange::AddLearner(ReplicaId(id));
            let proposals = change_under_load(&mut group, leader, add);
            // It leads alone and in the same term before and after, and serves reads all the while.
            assert!(id == 3 || proposals == 1, "seed {seed}: {proposals}");
            assert!(id == 3 || group.can_read(leader), "seed {seed}");
            let promote = MembershipChange::Promote(ReplicaId(id));
            change_under_load(&mut group, leader, promote);
        }
        assert_eq!(group.term(leader), term, "seed {seed}");
        for id in [2, 3] {
            for change in [MembershipChange::Demote, MembershipChange::Remove] {
                change_under_load(&mut group, leader, change(ReplicaId(id)));
            }
        }
        group.wait_until("alone again", 5 * SECOND_US, |group| {
            let membership = group.membership(leader);
            membership.voters.len() == 1 && membership.learners.is_empty()
        });
        let proposal = group.propose(leader);
        assert!(group.is_acknowledged(proposal), "seed {seed}");
        assert_eq!(group.term(leader), term, "seed {seed}");
        group.lose(0);
        group.settle();
    }
}

#[test]
fn a_learner_of_a_lone_leader_gets_a_snapshot_and_catches_up() {
    let mut group = Group::new(77, &[1]);
    let leader = group.wait_for_leader(3 * SECOND_US);
    for _ in 0..500 {
        group.propose(leader);
    }
    group.join(2);
    group
        .change(leader, MembershipChange::AddLearner(ReplicaId(2)))
        .unwrap();
    // It has all that the leader has, which keeps nothing from before it was there.
    group.settle();
    group.wait_until("promotion", 5 * SECOND_US, |group| {
        group
            .change(leader, MembershipChange::Promote(ReplicaId(2)))
            .is_ok()
    });
    group.settle();
}

#[test]
fn a_group_that_began_alone_stays_sound_under_loss_and_crashes() {
    for seed in 0..20 {
        let mut group = Group::new(5000 + seed, &[1]);
        group.lose(10);
        let mut newest = 1;
        group.chaos(60 * SECOND_US, |group, draw| {
            if draw % 10 == 0 {
                for id in group.leaders() {
                    newest = group.wander(id, draw / 10, newest);
                }
            }
        });
        assert!(group.changes() > 1, "seed {seed}: {}", group.changes());
        group.heal();
        group.lose(0);
        group.settle();
    }
}

#[test]
fn followers_and_learners_stay_fresh_enough_to_be_read_while_writes_go_on() {
    for seed in 0..20 {
        let mut group = Group::new(seed, &[1, 2, 3]);
        let leader = group.wait_for_leader(3 * SECOND_US);
        group.run(SECOND_US);
        let added = group.change(leader, MembershipChange::AddLearner(ReplicaId(4)));
        added.expect("a leader that is settled");
        group.join(4);
        group.run(2 * SECOND_US);
        let (mut looks, mut fresh) = (0, 0);
        for _ in 0..100 {
            group.propose(leader);
            group.run(4 * TICK_US / 5);
            let followers = (1..=4).filter(|&id| id != leader);
            fresh += followers.filter(|&id| group.is_fresh(id)).count();
            looks += 3;
        }
        // Messages are late now and then.
        assert!(fresh * 10 >= looks * 9, "seed {seed}: {fresh} of {looks}");
    }
}

#[test]
fn a_follower_behind_a_partition_is_not_fresh_for_longer_than_asked_for() {
    for seed in 0..20 {
        let mut group = Group::new(seed, &[1, 2, 3]);
        let leader = group.wait_for_leader(3 * SECOND_US);
        group.run(2 * SECOND_US);
        let follower = (1..=3).find(|&id| id != leader).expect("two of them");
        assert!(group.is_fresh(follower), "seed {seed}");
        group.isolate(follower);
        group.run(FRESH_US + FRESH_US / 50);
        assert!(!group.is_fresh(follower), "seed {seed}");
    }
}
