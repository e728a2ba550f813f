//! Plays a simulation once.

use std::sync::Arc;
use std::time::Duration;

use skep_agent::Lane;
use skep_broker::{Blobs as _, Embedded, Journal as _, Registry as _, Revision};
use skep_coordinator::{Config, ReadModelAt};
use skep_protocol::{PartitionCount, Seq};
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::clients::Clients;
use crate::director::Director;
use crate::faults::Faults;
use crate::host::Clockwork;
use crate::link::{Link, Role};
use crate::network::{Client, Network};
use crate::simulation::Simulation;
use crate::watched::Serve;
use crate::witness::{Account, Part, Witness};
use crate::world::World;

/// Once everything is well, every run has to end within this time: nested items that are waited for
/// one after the other, and tried again, take their limits many times over.
const ENDS_WITHIN: Duration = Duration::from_secs(7_200);
/// How often clients help runs that wait for them, once everything is well.
const HELP_EVERY: Duration = Duration::from_secs(15);

/// Plays a simulation in a runtime of its own.
pub(crate) fn play(simulation: &Simulation) -> Account {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the machine");
    runtime.block_on(async {
        let mut chance = Chance::new(simulation.seed);
        let clockwork = Arc::new(Clockwork::new(chance.fork()));
        let _machine = skep_broker::host::simulate(Arc::clone(&clockwork) as Arc<_>);
        let witness = Arc::new(Witness::new(
            simulation.traces,
            simulation.faults.is_orderly(),
            simulation.failing.clone(),
        ));
        let network = Network::new(Embedded::new(), Arc::clone(&witness), chance.fork());
        let mut world = World::new(Arc::clone(&network));
        tokio::select! {
            biased;
            () = witness.until_violated() => {}
            () = act(simulation, &mut world, &clockwork, chance) => {}
        }
        drop(world);
        witness.account()
    })
}

async fn act(
    simulation: &Simulation,
    world: &mut World,
    clockwork: &Clockwork,
    mut chance: Chance,
) {
    let witness = Arc::clone(&world.network().witness);
    let count = PartitionCount::new(simulation.partitions).unwrap_or(PartitionCount::DEFAULT);
    find_journals(simulation, world.network()).await;
    populate(simulation, world, count, &mut chance);
    let link = Arc::new(Link::new("client".to_owned(), Role::Client));
    let client = Client::new(&world.shared_network(), &link);
    let plan = Arc::new(simulation.plan.clone());
    let (retried, ordered) = (Arc::default(), Arc::default());
    let failing = simulation.failing.iter().map(Part::step);
    let hopeless = failing.filter(|step| step.compensated().is_some());
    let hopeless = hopeless.cloned().collect();
    let clients = Clients { client, count, plan, retried, hopeless, ordered };
    let faults = simulation.faults.clone();
    let lasts = match faults == Faults::none() {
        true => Duration::ZERO,
        false => chance.between(Duration::from_secs(5), simulation.lasts),
    };
    let acting = clients.run(chance.fork(), lasts / 2);
    let mut director = Director { world, clockwork, chance, faults, trouble: simulation.trouble };
    director.change_weather();
    let both = async {
        match simulation.trouble {
            Some(_) => acting.await,
            None => {
                tokio::join!(acting, director.run(lasts));
            }
        }
    };
    if timeout(lasts + ENDS_WITHIN, both).await.is_err() {
        return witness.violated("I-1", "a client is never answered".to_owned());
    }
    let at_least = simulation.plan.starts.len();
    let ending = async {
        let help = async {
            for number in 100.. {
                sleep(HELP_EVERY).await;
                clients.help(number).await;
            }
        };
        tokio::select! {
            biased;
            () = witness.settled(at_least) => {}
            () = help => {}
        }
    };
    if timeout(ENDS_WITHIN, ending).await.is_err() {
        witness.violated("I-1", format!("not every run ends: {}", witness.unfinished()));
    }
    witness.check_replays();
}

/// Puts what was there before into the journals and stores.
async fn find_journals(simulation: &Simulation, network: &Network) {
    // A broker of one's own takes everything.
    for blob in &simulation.stores.blobs {
        let _ = network.broker.put_blob(blob.clone()).await;
    }
    for (bucket, key, value) in &simulation.stores.facts {
        let _ = network.broker.put(*bucket, key, value.clone(), Revision::ABSENT).await;
    }
    for (partition, message) in &simulation.before {
        let last = network.broker.last(*partition).await.ok().flatten();
        let expected = last.map_or(Seq::ZERO, |last| last.seq);
        if let Ok(seq) = network.broker.append(*partition, expected, message.clone()).await {
            network.witness.found(*partition, seq, message);
        }
    }
}

/// Starts coordinators and agents.
fn populate(
    simulation: &Simulation,
    world: &mut World,
    partitions: PartitionCount,
    chance: &mut Chance,
) {
    for number in 1..=simulation.coordinators {
        let config = Config {
            partitions,
            read_model: ReadModelAt::Nowhere,
            snapshot_after_records: 5 + chance.below(60),
            snapshot_every: Duration::from_secs(5 + chance.below(60)),
            keep_messages: chance.below(30),
            standby_every: Duration::from_millis(500 + chance.below(1_000)),
            ..Config::embedded()
        };
        world.add_coordinator(format!("c{number}"), config);
    }
    let serves: Arc<[Serve]> = simulation.serves.clone().into();
    for number in 1..=simulation.agents {
        let lane = if number == 2 { Lane::Queue } else { Lane::Direct };
        world.add_agent(format!("a{number}"), Arc::clone(&serves), lane);
    }
}
