use std::collections::btree_map::Entry;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn id(name: &str) -> CoordinatorId {
    CoordinatorId::new(name).unwrap()
}

/// Coordinators that share a registry and a clock; each looks once in a round.
struct World {
    now: Duration,
    revision: u64,
    all: BTreeMap<CoordinatorId, Placement>,
    records: BTreeMap<CoordinatorId, (u64, Member)>,
    served: BTreeMap<PartitionId, CoordinatorId>,
    handed: usize,
}

impl World {
    fn new() -> Self {
        let (all, records, served) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { now: Duration::ZERO, revision: 0, all, records, served, handed: 0 }
    }

    fn start(&mut self, name: &str) {
        self.all.insert(id(name), Placement::new(id(name), PartitionCount::DEFAULT));
    }

    /// It ends, and its record stays.
    fn kill(&mut self, name: &str) {
        self.all.remove(&id(name));
        self.served.retain(|_, owner| *owner != id(name));
    }

    fn write(&mut self, name: &CoordinatorId) {
        self.revision += 1;
        let member = self.all[name].member("process");
        self.records.insert(name.clone(), (self.revision, member));
    }

    /// Everybody writes, looks, and does what follows: it hands over, follows what it may have to
    /// take, and takes what is vacant if it is the one for it.
    fn round(&mut self) {
        self.now += SECOND;
        for name in self.all.keys().cloned().collect::<Vec<_>>() {
            self.write(&name);
            let round = Round { members: self.records.clone(), wrote: true };
            let placement = self.all.get_mut(&name).unwrap();
            placement.looked(&round, self.now);
            for partition in PartitionCount::DEFAULT.all() {
                let is_mine = self.served.get(&partition) == Some(&name);
                if is_mine && placement.is_to_hand_over(partition) {
                    placement.owns(partition, Ownership::Left);
                    self.served.remove(&partition);
                    self.handed += 1;
                } else if !is_mine && placement.rank(partition) == 0 {
                    placement.follows(partition, Following::Closely);
                    if let Entry::Vacant(vacant) = self.served.entry(partition) {
                        placement.follows(partition, Following::No);
                        placement.owns(partition, Ownership::Taken);
                        vacant.insert(name.clone());
                    }
                } else {
                    placement.follows(partition, Following::No);
                }
            }
        }
    }

    fn rounds(&mut self, count: usize) {
        (0..count).for_each(|_| self.round());
    }

    /// Returns who should have each partition, by the weights alone.
    fn ideal(&self) -> BTreeMap<PartitionId, CoordinatorId> {
        let first = |partition| {
            let weighed = self.all.keys().map(|id| (weight(id, partition), id.clone()));
            weighed.max().map(|(_, id)| (partition, id))
        };
        PartitionCount::DEFAULT.all().filter_map(first).collect()
    }
}

#[test]
fn a_newcomer_gets_its_share_and_nothing_moves_afterwards() {
    let mut world = World::new();
    world.start("a");
    world.rounds(3);
    assert_eq!(world.served.len(), 8);
    world.start("b");
    world.start("c");
    world.rounds(20);
    assert_eq!(world.served, world.ideal());
    let mut owners: Vec<_> = world.served.values().cloned().collect();
    owners.sort_unstable();
    owners.dedup();
    assert_eq!(owners.len(), 3, "{:?}", world.served);
    let handed = world.handed;
    world.rounds(50);
    assert_eq!((&world.served, world.handed), (&world.ideal(), handed));
}

#[test]
fn a_dead_one_is_replaced_at_once_and_never_handed_anything() {
    let mut world = World::new();
    ["a", "b", "c"].into_iter().for_each(|name| world.start(name));
    world.rounds(30);
    let before = world.served.clone();
    world.kill("b");
    let handed = world.handed;
    // Its record is still there: its partitions have successors all the same.
    world.round();
    assert_eq!(world.served.len(), 8);
    world.rounds(30);
    assert_eq!((&world.served, world.handed), (&world.ideal(), handed));
    let stayed = |(p, owner): &(&PartitionId, &CoordinatorId)| before.get(p) == Some(owner);
    let lost = before.values().filter(|owner| **owner == id("b")).count();
    assert_eq!(world.served.iter().filter(stayed).count(), 8 - lost);
}

#[test]
fn whoever_comes_and_goes_is_handed_nothing() {
    let mut world = World::new();
    world.start("a");
    world.rounds(10);
    for _ in 0..10 {
        world.start("b");
        world.rounds(3);
        world.kill("b");
        world.rounds(3);
    }
    assert_eq!(world.handed, 0);
    assert!(world.served.values().all(|owner| *owner == id("a")));
}

#[test]
fn nobody_is_judged_without_writing() {
    let mut one = Placement::new(id("a"), PartitionCount::DEFAULT);
    let other = Placement::new(id("b"), PartitionCount::DEFAULT).member("process");
    let round = |revision, wrote| Round {
        members: BTreeMap::from([(id("b"), (revision, other.clone()))]),
        wrote,
    };
    one.looked(&round(1, true), SECOND);
    assert_eq!(one.live(), [id("a")], "it may have died long ago");
    assert!(one.has_company(), "or it may not");
    one.looked(&round(2, true), SECOND * 2);
    assert_eq!(one.live(), [id("a"), id("b")]);
    for n in 0..100 {
        one.looked(&round(2, false), SECOND * (3 + n));
    }
    for _ in 0..100 {
        one.looked(&round(2, true), SECOND * 103);
    }
    assert_eq!(one.live(), [id("a"), id("b")], "it had no time to write");
    for n in 0..4 {
        one.looked(&round(2, true), SECOND * (104 + n));
    }
    assert_eq!(one.live(), [id("a")]);
    one.looked(&round(3, true), SECOND * 109);
    assert_eq!(one.live(), [id("a"), id("b")], "it was only stopped");
    one.looked(&Round { wrote: true, ..Round::default() }, SECOND * 110);
    assert_eq!(one.live(), [id("a")]);
}

#[test]
fn who_drains_is_first_nowhere() {
    let (mut a, mut b) = (
        Placement::new(id("a"), PartitionCount::DEFAULT),
        Placement::new(id("b"), PartitionCount::DEFAULT),
    );
    let look = |one: &mut Placement, other: &Placement, name: &str, revision, at| {
        let members = BTreeMap::from([(id(name), (revision, other.member("process")))]);
        one.looked(&Round { members, wrote: true }, at);
    };
    look(&mut a, &b, "b", 1, SECOND);
    look(&mut a, &b, "b", 2, SECOND * 2);
    let ranks = |one: &Placement| PartitionCount::DEFAULT.all().map(|p| one.rank(p)).sum::<u32>();
    assert!(ranks(&a) > 0);
    b.leaves(MemberPhase::Draining);
    look(&mut a, &b, "b", 3, SECOND * 3);
    assert_eq!(ranks(&a), 0);
}

/// The dead one stays until it was missed for long enough; what somebody serves is told once.
#[test]
fn the_neighbours_are_those_with_work() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.start(name);
    }
    world.rounds(10);
    let names = |world: &World| {
        let neighbours = world.all[&id("a")].neighbours();
        for (owner, partition) in
            neighbours.iter().flat_map(|(id, all)| all.iter().map(move |p| (id, p)))
        {
            assert_eq!(world.served.get(partition).unwrap_or(owner), owner);
        }
        neighbours.into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&world), ["b", "c"]);
    world.kill("b");
    assert_eq!(names(&world), ["b", "c"]);
    world.rounds(10);
    assert_eq!(names(&world), ["c"]);
    // Who has just begun serves nothing.
    world.start("d");
    world.rounds(2);
    assert_eq!(names(&world), ["c"]);
}

#[test]
fn a_vigil_counts_what_it_heard() {
    let mut vigil = Vigil::default();
    let at = Duration::from_millis;
    assert_eq!(vigil.probed(Probe::Nobody, 0, at(0)), Verdict::Vacant);
    assert_eq!(vigil.probed(Probe::Nobody, 1, at(900)), Verdict::Wait);
    assert_eq!(vigil.probed(Probe::Answered, 1, at(950)), Verdict::Wait);
    assert_eq!(vigil.probed(Probe::Nobody, 2, at(1_000)), Verdict::Wait);
    assert_eq!(vigil.probed(Probe::Nobody, 2, at(2_999)), Verdict::Wait);
    assert_eq!(vigil.probed(Probe::Nobody, 2, at(3_000)), Verdict::Vacant);
    for probe in [Probe::Answered, Probe::Unknown, Probe::Nobody] {
        for _ in 0..3 {
            // However late it is: whoever was stopped itself knows nothing.
            assert_eq!(vigil.probed(Probe::Unanswered, 0, SECOND * 99), Verdict::Wait);
        }
        vigil.probed(probe, 1, SECOND * 99);
    }
    let verdicts: Vec<_> = (0..8).map(|_| vigil.probed(Probe::Unanswered, 1, at(0))).collect();
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Hung).count(), 1);
    assert_eq!(verdicts.last(), Some(&Verdict::Hung));
}

#[derive(Debug, Clone)]
enum Act {
    Start(u8),
    Kill(u8),
    Rounds(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0..5_u8).prop_map(Act::Start),
        (0..5_u8).prop_map(Act::Kill),
        (1..8_u8).prop_map(Act::Rounds),
    ];
    prop::collection::vec(act, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whoever comes and goes, and whenever: once that stops, everything is where it belongs.
    #[test]
    fn in_the_end_everybody_has_its_share(acts in acts()) {
        let mut world = World::new();
        for act in acts {
            match act {
                Act::Start(n) if !world.all.contains_key(&id(&format!("c{n}"))) => {
                    world.start(&format!("c{n}"));
                }
                Act::Start(_) => {}
                Act::Kill(n) => world.kill(&format!("c{n}")),
                Act::Rounds(n) => world.rounds(n.into()),
            }
        }
        world.rounds(40);
        prop_assert_eq!(&world.served, &world.ideal());
        let handed = world.handed;
        world.rounds(10);
        prop_assert_eq!(handed, world.handed);
    }

    /// The death of one moves nothing but what it had.
    #[test]
    fn only_what_the_dead_one_had_moves(names in prop::collection::btree_set("[a-z]{1,8}", 2..8)) {
        let ids: Vec<CoordinatorId> = names.iter().map(|name| id(name)).collect();
        let first = |ids: &[CoordinatorId], partition| {
            ids.iter().max_by_key(|id| (weight(id, partition), (*id).clone())).cloned()
        };
        for partition in PartitionCount::DEFAULT.all() {
            let owner = first(&ids, partition);
            for gone in &ids {
                let rest: Vec<_> = ids.iter().filter(|id| *id != gone).cloned().collect();
                if owner.as_ref() != Some(gone) {
                    prop_assert_eq!(first(&rest, partition), owner.clone());
                }
            }
        }
    }
}
