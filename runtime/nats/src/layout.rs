//! Every stream, subject and consumer: the only file that knows their names.
//!
//! Each role has a subject prefix of its own, and the id of an agent is a token of the subject, so
//! that permissions and account imports can contain an agent:
//!
//! | role | subject | who listens |
//! | --- | --- | --- |
//! | commands | `skep.command.<partition>` | the owner of the partition |
//! | reports | `skep.report.<partition>.<agent>` | the owner of the partition |
//! | reports left behind | `skep.late.<partition>.<agent>` | stream `skep_late` |
//! | queries | `skep.query` | any coordinator, as queue group `coordinators` |
//! | who answers queries | `skep.query.who` | every coordinator |
//! | queries to one coordinator | `skep.query.to.<id>` | that coordinator |
//! | direct lane | `skep.direct.<agent>` | the agent |
//! | control | `skep.ctl` for all, `skep.ctl.<agent>` for one | the agents |
//! | heartbeats | `skep.beat.<agent>` | coordinators |
//! | queue lane | `skep.task.<capability>` | stream `skep_tasks`, one consumer per capability |
//! | journals | `skep.journal.<partition>` | stream `skep_journal_<partition>` |
//! | snapshots | `skep.snapshot.<partition>.<seq>.<chunk>` | stream `skep_snapshots` |
//! | blobs | `skep.blob.<hash>.<chunk>` | stream `skep_blobs` |
//! | registry | `$KV.skep_<bucket>.<key>` | buckets `skep_cluster`, `_workflows`, `_coordinators` |
//! | synchronisation | `skep.sync` | nobody, ever |
//!
//! `skep` is the namespace: several clusters can share a server under different ones.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use skep_broker::{Bucket, COORDINATORS_KEPT};
use skep_protocol::{AgentId, Hash, PartitionCount, PartitionId, Seq};

use crate::namespace::Namespace;

/// For how long the same sending of the same attempt is recognised.
const DEDUPLICATION: Duration = Duration::from_secs(120);
/// Tasks that the queue lane holds over all capabilities; coordinators keep it far below.
const MAX_QUEUED: i64 = 1_000_000;
/// How long the server keeps the consumer of a reader that went away.
const READER_KEPT: Duration = Duration::from_secs(30);

/// Encodes a name so that it can be one token of a subject and the name of a consumer:
/// `A-Z a-z 0-9 _ -` stay, every other byte becomes `=` and two hexadecimal digits.
pub(crate) fn token(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("={byte:02X}"));
        }
    }
    if out.is_empty() { "=".to_owned() } else { out }
}

/// Names and settings of everything that one cluster has on a server.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    ns: Namespace,
}

impl Layout {
    pub(crate) const fn new(ns: Namespace) -> Self {
        Self { ns }
    }

    // Requests and messages that are not kept.

    pub(crate) fn command(&self, partition: PartitionId) -> String {
        format!("{}.command.{partition}", self.ns)
    }

    pub(crate) fn report(&self, partition: PartitionId, agent: &AgentId) -> String {
        format!("{}.report.{partition}.{agent}", self.ns)
    }

    pub(crate) fn reports(&self, partition: PartitionId) -> String {
        format!("{}.report.{partition}.*", self.ns)
    }

    pub(crate) fn query(&self) -> String {
        format!("{}.query", self.ns)
    }

    /// Every coordinator answers here where it can be asked, as long as it does anything.
    pub(crate) fn query_who(&self) -> String {
        format!("{}.query.who", self.ns)
    }

    /// The subject of one coordinator alone, by an id that it makes up.
    pub(crate) fn query_to(&self, id: &str) -> String {
        format!("{}.query.to.{id}", self.ns)
    }

    pub(crate) const fn query_group() -> &'static str {
        "coordinators"
    }

    pub(crate) fn direct(&self, agent: &AgentId) -> String {
        format!("{}.direct.{agent}", self.ns)
    }

    pub(crate) fn control(&self, agent: Option<&AgentId>) -> String {
        match agent {
            Some(agent) => format!("{}.ctl.{agent}", self.ns),
            None => format!("{}.ctl", self.ns),
        }
    }

    pub(crate) fn beat(&self, agent: &AgentId) -> String {
        format!("{}.beat.{agent}", self.ns)
    }

    pub(crate) fn beats(&self) -> String {
        format!("{}.beat.*", self.ns)
    }

    /// Nobody listens here: the server's "no responders" tells that it has seen all that was sent
    /// before.
    pub(crate) fn sync(&self) -> String {
        format!("{}.sync", self.ns)
    }

    /// A subject of each kind of request that those who ask need an honest "no responders" to, and
    /// the pattern of the kind. There is no partition of this number, and nobody has this name.
    pub(crate) fn served_by_nobody(&self, nobody: &str) -> [(String, String); 4] {
        let kinds = [
            ("command.NUMBER", "command.*"),
            ("report.NUMBER.NOBODY", "report.*.*"),
            ("query.to.NOBODY", "query.to.*"),
            ("direct.NOBODY", "direct.*"),
        ];
        let number = u16::MAX.to_string();
        kinds.map(|(subject, pattern)| {
            let subject = subject.replace("NUMBER", &number).replace("NOBODY", nobody);
            (format!("{}.{subject}", self.ns), format!("{}.{pattern}", self.ns))
        })
    }

    // Subjects that streams keep.

    pub(crate) fn journal(&self, partition: PartitionId) -> String {
        format!("{}.journal.{partition}", self.ns)
    }

    pub(crate) fn task(&self, capability: &str) -> String {
        format!("{}.task.{}", self.ns, token(capability))
    }

    pub(crate) fn late(&self, partition: PartitionId, agent: &AgentId) -> String {
        format!("{}.late.{partition}.{agent}", self.ns)
    }

    pub(crate) fn lates(&self, partition: PartitionId) -> String {
        format!("{}.late.{partition}.*", self.ns)
    }

    pub(crate) fn blob(&self, hash: Hash) -> String {
        format!("{}.blob.{hash}", self.ns)
    }

    pub(crate) fn snapshot(&self, partition: PartitionId, seq: Seq) -> String {
        format!("{}.snapshot.{partition}.{seq}", self.ns)
    }

    /// The last message of a snapshot: what makes it whole.
    pub(crate) fn snapshot_end(&self, partition: PartitionId, seq: Seq) -> String {
        format!("{}.end", self.snapshot(partition, seq))
    }

    pub(crate) fn snapshot_ends(&self, partition: PartitionId) -> String {
        format!("{}.snapshot.{partition}.*.end", self.ns)
    }

    /// The subjects of everything that is kept of the snapshots of a partition.
    pub(crate) fn snapshots(&self, partition: PartitionId) -> String {
        format!("{}.snapshot.{partition}.*.*", self.ns)
    }

    /// Returns whether a subject of a snapshot is that of its end.
    pub(crate) fn is_snapshot_end(subject: &str) -> bool {
        subject.ends_with(".end")
    }

    /// Returns the position that a subject of a snapshot names.
    pub(crate) fn seq_of_snapshot(subject: &str) -> Option<Seq> {
        subject.split('.').nth(3)?.parse().ok().map(Seq::new)
    }

    pub(crate) fn fact(&self, bucket: Bucket, key: &str) -> String {
        format!("{}{key}", self.facts(bucket))
    }

    /// The subject of every fact starts with this.
    pub(crate) fn facts(&self, bucket: Bucket) -> String {
        format!("$KV.{}.", self.bucket(bucket))
    }

    fn bucket(&self, bucket: Bucket) -> String {
        match bucket {
            Bucket::Cluster => format!("{}_cluster", self.ns),
            Bucket::Workflows => format!("{}_workflows", self.ns),
            Bucket::Coordinators => format!("{}_coordinators", self.ns),
        }
    }

    // Streams.

    pub(crate) fn journal_stream(&self, partition: PartitionId) -> String {
        format!("{}_journal_{partition}", self.ns)
    }

    pub(crate) fn task_stream(&self) -> String {
        format!("{}_tasks", self.ns)
    }

    /// Returns how many partitions a cluster with these streams has.
    pub(crate) fn partitions_of<'a>(
        &self,
        streams: impl Iterator<Item = &'a str>,
    ) -> Option<PartitionCount> {
        let prefix = format!("{}_journal_", self.ns);
        let number = |name: &str| name.strip_prefix(&prefix)?.parse::<u16>().ok();
        let last = streams.filter_map(number).max()?;
        last.checked_add(1).and_then(PartitionCount::new)
    }

    pub(crate) fn late_stream(&self) -> String {
        format!("{}_late", self.ns)
    }

    pub(crate) fn blob_stream(&self) -> String {
        format!("{}_blobs", self.ns)
    }

    pub(crate) fn snapshot_stream(&self) -> String {
        format!("{}_snapshots", self.ns)
    }

    pub(crate) fn bucket_stream(&self, bucket: Bucket) -> String {
        format!("KV_{}", self.bucket(bucket))
    }

    /// Returns whether a stream belongs to this cluster.
    pub(crate) fn is_ours(&self, stream: &str) -> bool {
        let bare = stream.strip_prefix("KV_").unwrap_or(stream);
        bare.strip_prefix(self.ns.as_str()).is_some_and(|rest| rest.starts_with('_'))
    }

    /// Returns the settings of every stream of a cluster.
    pub(crate) fn streams(&self, partitions: PartitionCount, replicas: usize) -> Vec<Config> {
        let mut streams: Vec<Config> = partitions.all().map(|p| self.journal_config(p)).collect();
        streams.push(self.late_config(partitions));
        streams.push(self.blob_config());
        streams.push(self.snapshot_config());
        let buckets = [Bucket::Cluster, Bucket::Workflows, Bucket::Coordinators];
        streams.extend(buckets.map(|bucket| self.bucket_config(bucket)));
        streams.push(self.task_config(replicas));
        for config in &mut streams {
            config.num_replicas = replicas;
        }
        streams
    }

    fn journal_config(&self, partition: PartitionId) -> Config {
        Config {
            description: Some(format!("skep: the journal of partition {partition}")),
            subjects: vec![self.journal(partition)],
            // Should somebody limit the stream, appends fail and nothing that is kept is lost.
            discard: DiscardPolicy::New,
            deny_delete: true,
            ..kept(self.journal_stream(partition))
        }
    }

    pub(crate) fn task_config(&self, replicas: usize) -> Config {
        Config {
            description: Some("skep: tasks for queue agents; may be lost".to_owned()),
            subjects: vec![format!("{}.task.*", self.ns)],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::Memory,
            duplicate_window: DEDUPLICATION,
            max_messages: MAX_QUEUED,
            discard: DiscardPolicy::New,
            num_replicas: replicas,
            ..kept(self.task_stream())
        }
    }

    fn late_config(&self, partitions: PartitionCount) -> Config {
        Config {
            description: Some("skep: reports that no owner was there for".to_owned()),
            // One for each partition: nobody would ever remove what is left for another.
            subjects: partitions.all().map(|partition| self.lates(partition)).collect(),
            discard: DiscardPolicy::New,
            ..kept(self.late_stream())
        }
    }

    /// Lets the stream of late reports keep the partitions that it has beside the wanted ones.
    pub(crate) fn keep_lates(&self, found: &Config, wanted: &mut Config) {
        let prefix = format!("{}.late.", self.ns);
        let is_partition = |subject: &&String| {
            let rest = subject.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".*"));
            rest.is_some_and(|number| number.parse::<u16>().is_ok())
        };
        let more = found.subjects.iter().filter(is_partition);
        let more: Vec<_> = more.filter(|s| !wanted.subjects.contains(s)).cloned().collect();
        wanted.subjects.extend(more);
    }

    fn blob_config(&self) -> Config {
        Config {
            description: Some("skep: large values by their hash".to_owned()),
            subjects: vec![format!("{}.blob.*.*", self.ns)],
            // What was written once under a hash stays: the first one wins.
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            allow_direct: true,
            ..kept(self.blob_stream())
        }
    }

    fn snapshot_config(&self) -> Config {
        Config {
            description: Some("skep: snapshots of partitions".to_owned()),
            subjects: vec![format!("{}.snapshot.*.*.*", self.ns)],
            max_messages_per_subject: 1,
            ..kept(self.snapshot_stream())
        }
    }

    /// The settings that the tools of NATS expect of a key-value bucket.
    fn bucket_config(&self, bucket: Bucket) -> Config {
        Config {
            description: Some("skep: facts that the cluster shares".to_owned()),
            subjects: vec![format!("{}>", self.facts(bucket))],
            max_messages_per_subject: 1,
            deny_delete: true,
            allow_rollup: true,
            allow_direct: true,
            max_age: match bucket {
                Bucket::Cluster | Bucket::Workflows => Duration::ZERO,
                // Nobody removes the record of a coordinator that crashed.
                Bucket::Coordinators => COORDINATORS_KEPT,
            },
            ..kept(self.bucket_stream(bucket))
        }
    }

    // Consumers.

    /// The one shared consumer of a capability; its name is stable, autoscalers watch it.
    pub(crate) fn queue_consumer(&self, capability: &str, ack_wait: Duration) -> pull::Config {
        pull::Config {
            durable_name: Some(token(capability)),
            filter_subject: self.task(capability),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_deliver: -1,
            max_ack_pending: -1,
            max_waiting: 10_000,
            ..pull::Config::default()
        }
    }

    /// A reader of its own that vanishes when it is not used.
    pub(crate) fn reader(filter: &str, from: Seq) -> pull::Config {
        pull::Config {
            filter_subject: filter.to_owned(),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.get().max(1) },
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_KEPT,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        }
    }
}

/// What streams have in common: on disk, kept until removed, acknowledged when stored.
fn kept(name: String) -> Config {
    Config {
        name,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(name: &str, expected: Expect) {
        expected.assert_eq(&token(name));
    }

    #[test]
    fn names_become_single_tokens() {
        check("reviewer", expect!["reviewer"]);
        check("llm.gpt/4", expect!["llm=2Egpt=2F4"]);
        check("*", expect!["=2A"]);
        check("a >b", expect!["a=20=3Eb"]);
        check("é=\0", expect!["=C3=A9=3D=00"]);
        check("", expect!["="]);
    }

    proptest::proptest! {
        #[test]
        fn different_names_have_different_tokens(a: String, b: String) {
            proptest::prop_assert_eq!(token(&a) == token(&b), a == b);
            proptest::prop_assert!(!token(&a).contains(['.', '*', '>', ' ', '/', '\\']));
        }
    }

    #[test]
    fn the_streams_of_a_cluster() {
        let layout = Layout::new(Namespace::default());
        let streams = layout.streams(PartitionCount::new(2).unwrap(), 3);
        let lines: Vec<String> = streams
            .iter()
            .map(|s| {
                let (name, subjects) = (&s.name, s.subjects.join(" "));
                format!(
                    "{name}: {subjects}, {:?}, {:?}, R{}",
                    s.storage, s.retention, s.num_replicas
                )
            })
            .collect();
        expect![[r#"
            skep_journal_0: skep.journal.0, File, Limits, R3
            skep_journal_1: skep.journal.1, File, Limits, R3
            skep_late: skep.late.0.* skep.late.1.*, File, Limits, R3
            skep_blobs: skep.blob.*.*, File, Limits, R3
            skep_snapshots: skep.snapshot.*.*.*, File, Limits, R3
            KV_skep_cluster: $KV.skep_cluster.>, File, Limits, R3
            KV_skep_workflows: $KV.skep_workflows.>, File, Limits, R3
            KV_skep_coordinators: $KV.skep_coordinators.>, File, Limits, R3
            skep_tasks: skep.task.*, Memory, WorkQueue, R3"#]]
        .assert_eq(&lines.join("\n"));
        assert!(streams.iter().all(|stream| stream.persist_mode.is_none()));
    }

    #[test]
    fn a_snapshot_is_found_by_the_subject_of_its_end() {
        let layout = Layout::new(Namespace::default());
        let subject = layout.snapshot_end(PartitionId::new(3), Seq::new(17));
        assert_eq!(Layout::seq_of_snapshot(&subject), Some(Seq::new(17)));
    }
}
