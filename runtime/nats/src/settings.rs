//! What the settings of a stream have to be, and how those that are there differ.

use async_nats::jetstream::stream::{Config, DiscardPolicy, PersistenceMode, StorageType};

/// A setting that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) setting: &'static str,
    pub(crate) found: String,
    pub(crate) wanted: String,
}

/// Compares the settings that matter: those by which a stream could lose, refuse or change what is
/// sent to it. The number of replicas matters if the caller named one.
pub(crate) fn differences(
    wanted: &Config,
    found: &Config,
    replicas: Option<usize>,
) -> Vec<Difference> {
    let same = |config: &Config| Config {
        num_replicas: replicas.map_or(found.num_replicas, |_| config.num_replicas),
        ..config.clone()
    };
    let both = settings(found).into_iter().zip(settings(&same(wanted)));
    let differing = both.filter(|((_, found), (_, wanted))| found != wanted);
    differing.map(|((setting, found), (_, wanted))| Difference { setting, found, wanted }).collect()
}

fn settings(config: &Config) -> [(&'static str, String); 20] {
    let mut subjects = config.subjects.clone();
    subjects.sort();
    let sources = config.sources.iter().flatten().chain(&config.mirror);
    let sources = sources.map(|source| source.name.clone()).collect::<Vec<_>>();
    [
        ("storage", storage(config).to_owned()),
        ("persist_mode", persistence(config).to_owned()),
        ("retention", format!("{:?}", config.retention)),
        ("mirror or sources", if sources.is_empty() { "none".into() } else { sources.join(" ") }),
        ("subjects", subjects.join(" ")),
        ("sealed", yes_or_no(config.sealed)),
        ("no_ack", yes_or_no(config.no_ack)),
        ("deny_purge", yes_or_no(config.deny_purge)),
        ("discard", format!("{:?}", config.discard)),
        ("discard_new_per_subject", yes_or_no(config.discard_new_per_subject)),
        ("allow_msg_counter", yes_or_no(config.allow_message_counter)),
        ("max_age", age(config)),
        ("max_bytes", limit(config.max_bytes)),
        ("max_msgs", limit(config.max_messages)),
        ("max_msgs_per_subject", limit(config.max_messages_per_subject)),
        ("max_msg_size", limit(config.max_message_size.into())),
        ("max_consumers", limit(config.max_consumers.into())),
        ("allow_rollup", yes_or_no(config.allow_rollup)),
        ("deny_delete", yes_or_no(config.deny_delete)),
        ("num_replicas", config.num_replicas.to_string()),
    ]
}

fn storage(config: &Config) -> &'static str {
    match config.storage {
        StorageType::File => "file",
        StorageType::Memory => "memory",
    }
}

fn persistence(config: &Config) -> &'static str {
    match config.persist_mode {
        Some(PersistenceMode::Async) => "async",
        Some(PersistenceMode::Default) | None => "default",
    }
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes".to_owned() } else { "no".to_owned() }
}

/// The server says -1 or 0 where there is no limit.
fn limit(number: i64) -> String {
    if number > 0 { number.to_string() } else { "unlimited".to_owned() }
}

fn age(config: &Config) -> String {
    if config.max_age.is_zero() { "unlimited".to_owned() } else { format!("{:?}", config.max_age) }
}

/// Returns the settings of a stream that an earlier version of skep made, as this one wants them;
/// `None` if there is nothing to bring up to date. Nothing that is kept is lost by it.
pub(crate) fn upgraded(wanted: &Config, found: &Config) -> Option<Config> {
    let mut config = found.clone();
    if found.discard == DiscardPolicy::Old && wanted.discard == DiscardPolicy::New {
        config.discard = DiscardPolicy::New;
        // With a limit, messages were discarded perhaps; that is for people to look at.
        config.discard_new_per_subject = wanted.discard_new_per_subject;
    }
    if wanted.subjects.iter().any(|subject| !found.subjects.contains(subject)) {
        config.subjects.clone_from(&wanted.subjects);
    }
    let changed = config.discard != found.discard || config.subjects != found.subjects;
    changed.then_some(config)
}
