//! What anybody who reaches NATS may send, to a cluster that has other things to do.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use async_nats::Client;
use futures::StreamExt as _;
use skep_broker::Tasks as _;
use skep_protocol::{
    AgentId, AgentView, CommandReply, Delivery, Heartbeat, QueryReply, Rejection, ReportBatch,
    ReportReply, RunId, Task, Verdict, decode, decode_known,
};
use skep_tests::LOOK_EVERY;

use super::bystanders::{agents, begin, go_on, held, partition_of, start};
use super::causes::chain;
use super::files::{Case, cases, compare};
use crate::cluster::Cluster;

/// The kinds of messages.
pub(crate) const MESSAGES: [&str; 8] = [
    "messages/commands",
    "messages/queries",
    "messages/reports",
    "messages/late",
    "messages/heartbeats",
    "messages/deliveries",
    "messages/tasks",
    "messages/answers",
];
/// How often each heartbeat is sent.
const FLOOD: usize = 1_000;
/// Is offered to agents that answer with what no agent answers.
const PREY: &str = "\
name: prey
inputs: { items: { type: array } }
steps:
  a: { agent: prey, for_each: \"${{ inputs.items }}\", with: \"${{ item }}\" }
";

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_made_to_do_harm_disturb_nobody() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let told = storm(&cluster).await;
    told.with_context(|| format!("the processes printed:\n{:.20000}", cluster.printed()))
}

async fn storm(cluster: &Cluster) -> Result<()> {
    let before = begin(cluster).await?;
    let mallory = async_nats::connect(cluster.server.url()).await?;
    let worker = agents(cluster).await?.pop().context("there is one agent")?.agent;
    for kind in ["commands", "queries", "reports", "deliveries"] {
        Asking { mallory: &mallory, worker: &worker, kind }.ask_all().await?;
    }
    leave(&mallory).await?;
    beat(cluster, &mallory).await?;
    offer(cluster, &mallory).await?;
    answer(cluster, &mallory).await?;
    go_on(cluster, before).await
}

/// Messages that ask for an answer.
struct Asking<'a> {
    mallory: &'a Client,
    worker: &'a AgentId,
    kind: &'static str,
}

impl Asking<'_> {
    /// Sends all of a kind; each is answered, also what nobody can read.
    async fn ask_all(&self) -> Result<()> {
        let kind = format!("messages/{}", self.kind);
        let mut told = Vec::new();
        for case in cases(&kind)? {
            let case = filled(case);
            let asked = self.mallory.request(self.subject(), case.bytes.clone().into()).await;
            let answer = asked.with_context(|| case.name.clone())?;
            let cause = self.cause(&answer.payload).with_context(|| case.name.clone())?;
            told.push((case, cause));
        }
        compare(&kind, &told)
    }

    fn subject(&self) -> String {
        let partition = partition_of(held());
        match self.kind {
            "commands" => format!("skep.command.{partition}"),
            "queries" => "skep.query".to_owned(),
            "reports" => format!("skep.report.{partition}.mallory"),
            _ => format!("skep.direct.{}", self.worker),
        }
    }

    /// Returns what the answer says.
    fn cause(&self, answer: &[u8]) -> Result<String> {
        Ok(match self.kind {
            "commands" => rejection(decode(answer)?)?,
            "queries" => nothing(decode(answer)?)?,
            "reports" => match decode::<ReportReply>(answer)? {
                ReportReply { unreadable: Some(cause), .. } => format!("unreadable: {cause}"),
                ReportReply { verdicts, unreadable: None } => counted(&verdicts),
            },
            _ => match decode::<Delivery>(answer)? {
                Delivery { unreadable: Some(cause), .. } => format!("unreadable: {cause}"),
                Delivery { refused, unreadable: None } => {
                    let reasons: Vec<_> = refused.iter().map(|(_, reason)| reason).collect();
                    format!("refused: {reasons:?}")
                }
            },
        })
    }
}

fn rejection(reply: CommandReply) -> Result<String> {
    match reply {
        CommandReply::Rejected(Rejection::InvalidDefinition { rendered, .. }) => Ok(rendered),
        CommandReply::Rejected(rejection) => Ok(rejection.to_string()),
        CommandReply::Done {} => Ok("there is nothing to do".to_owned()),
        CommandReply::Registered { .. }
        | CommandReply::Started { .. }
        | CommandReply::Answer(_) => bail!("it is done: {reply:?}"),
    }
}

fn nothing(reply: QueryReply) -> Result<String> {
    if let QueryReply::Failed { message } = reply {
        return Ok(message);
    }
    let none = reply == QueryReply::NotFound {} || reply == QueryReply::Runs(Vec::new());
    ensure!(none, "it is answered: {reply:?}");
    Ok("there is no such run".to_owned())
}

/// Says which verdicts there are, and how many of each.
fn counted(verdicts: &[Verdict]) -> String {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for verdict in verdicts {
        let text = match verdict {
            Verdict::Applied => "applied".to_owned(),
            Verdict::Ignored(reason) => format!("ignored, {reason:?}").to_lowercase(),
            Verdict::Rejected(cause) => format!("rejected, {cause}"),
        };
        *counted.entry(text).or_default() += 1;
    }
    let lines: Vec<_> = counted.iter().map(|(text, many)| format!("{many} x {text}")).collect();
    lines.join("\n")
}

fn unread_reports(bytes: &[u8]) -> Option<String> {
    match decode_known::<ReportBatch>(bytes) {
        Ok(batch) if batch.agent.as_str() == "mallory" => None,
        Ok(_) => Some("it speaks in the name of another".to_owned()),
        Err(error) => Some(chain(&error)),
    }
}

/// Leaves reports for the owner to find; all of them are removed.
async fn leave(mallory: &Client) -> Result<()> {
    let js = async_nats::jetstream::new(mallory.clone());
    let mut told = Vec::new();
    for case in cases("messages/late")? {
        let case = filled(case);
        let cause = unread_reports(&case.bytes).context("it is read")?;
        let subject = format!("skep.late.{}.mallory", partition_of(held()));
        js.publish(subject, case.bytes.clone().into()).await?.await?;
        told.push((case, cause));
    }
    let mut stream = js.get_stream("skep_late").await?;
    while stream.info().await?.state.messages > 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    compare("messages/late", &told)
}

/// Floods the coordinator with heartbeats; of those that can be read, it keeps little.
async fn beat(cluster: &Cluster, mallory: &Client) -> Result<()> {
    let mut told = Vec::new();
    for case in cases("messages/heartbeats")? {
        let name = format!("m-{}", case.stem());
        let case = filled(case).filled("SENDER", &name);
        for _ in 0..FLOOD.min(100_000_000 / case.bytes.len().max(1)) {
            mallory.publish(format!("skep.beat.{name}"), case.bytes.clone().into()).await?;
        }
        mallory.flush().await?;
        let cause = match decode_known::<Heartbeat>(&case.bytes) {
            Ok(beat) if beat.agent.as_str() == name => seen(cluster, &beat.agent).await?,
            Ok(_) => "it speaks in the name of another".to_owned(),
            Err(error) => chain(&error),
        };
        told.push((case, cause));
    }
    compare("messages/heartbeats", &told)
}

/// Says what the coordinator keeps of an agent.
async fn seen(cluster: &Cluster, agent: &AgentId) -> Result<String> {
    let view = loop {
        match agents(cluster).await?.into_iter().find(|view| view.agent == *agent) {
            Some(view) => break view,
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    let AgentView { offers, labels, held, software, .. } = view;
    Ok(format!(
        "kept are {} capabilities, {} labels, {held} attempts, {} bytes of its software's name",
        offers.len(),
        labels.len(),
        software.len()
    ))
}

/// Puts into the queue what is no task; who pulls gets the one that is, and beside it what names an
/// attempt, to fail it.
async fn offer(cluster: &Cluster, mallory: &Client) -> Result<()> {
    let js = async_nats::jetstream::new(mallory.clone());
    let mut told = Vec::new();
    for case in cases("messages/tasks")? {
        let case = filled(case);
        let error = decode::<Task>(&case.bytes).err().context("it is read")?;
        js.publish("skep.task.queued", case.bytes.clone().into()).await?.await?;
        told.push((case, chain(&error)));
    }
    let honest = Task { capability: "queued".to_owned(), ..task()? };
    cluster.nats.offer(honest.clone(), 1).await?;
    let (mut readable, mut unread) = (Vec::new(), Vec::new());
    while readable.is_empty() {
        let pulled = cluster.nats.pull("queued", told.len() + 1, Duration::from_secs(1)).await?;
        for delivered in pulled {
            match delivered.unread {
                Some(_) => unread.push(delivered.task.id()),
                None => readable.push(delivered.task),
            }
        }
    }
    ensure!(readable == [honest], "these came: {readable:?}");
    ensure!(unread.len() == 1, "one of them names an attempt: {unread:?}");
    compare("messages/tasks", &told)
}

fn task() -> Result<Task> {
    let text = format!(
        r#"{{"v":1,"run":"{}","step":"a","attempt":1,"fencing_token":1,"capability":"x",
            "workflow":"w","partition":0,"input":{{"json":{{}}}},"timeout_ms":1000,"priority":5}}"#,
        held()
    );
    Ok(decode(text.as_bytes())?)
}

/// Pretends to be agents, and answers what they are sent with something else.
async fn answer(cluster: &Cluster, mallory: &Client) -> Result<()> {
    let (mut told, mut lying) = (Vec::new(), Vec::new());
    let all = cases("messages/answers")?;
    for (number, case) in all.iter().enumerate() {
        let name = format!("liar-{number}");
        let mut tasks = mallory.subscribe(format!("skep.direct.{name}")).await?;
        let beat = format!(
            r#"{{"v":1,"agent":"{name}","seq":1,"lane":"direct",
                "offers":[{{"capability":"prey","slots":1}}]}}"#
        );
        mallory.publish(format!("skep.beat.{name}"), beat.into()).await?;
        mallory.flush().await?;
        seen(cluster, &name.parse()?).await?;
        let error = decode::<Delivery>(&case.bytes).err().context("it is read")?;
        told.push((case.clone(), chain(&error)));
        let (mallory, bytes) = (mallory.clone(), case.bytes.clone());
        lying.push(async move {
            let sent = tasks.next().await.context("the connection is closed")?;
            let reply = sent.reply.context("an answer is wanted")?;
            mallory.publish(reply, bytes.into()).await?;
            anyhow::Ok(())
        });
    }
    let items: Vec<usize> = (0..all.len()).collect();
    let inputs = serde_json::json!({ "items": items }).to_string();
    start(cluster, PREY, RunId::from_key("hostile", "prey"), &inputs).await?;
    futures::future::try_join_all(lying).await?;
    compare("messages/answers", &told)
}

/// Puts the ids of what is there into a message.
fn filled(case: Case) -> Case {
    let elsewhere = (0..100).map(|n| RunId::from_key("hostile", &n.to_string()));
    let elsewhere = elsewhere.into_iter().find(|run| partition_of(*run) != partition_of(held()));
    let gone = (0..100).map(|n| RunId::from_key("gone", &n.to_string()));
    let gone = gone.into_iter().find(|run| partition_of(*run) == partition_of(held()));
    let text = |run: Option<RunId>| run.map(|run| run.to_string()).unwrap_or_default();
    case.filled("HELD", &held().to_string())
        .filled("ELSEWHERE", &text(elsewhere))
        .filled("GONE", &text(gone))
}
