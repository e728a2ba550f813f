//! An agent: its name, what it offers, and how it runs.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use skep_broker::AgentBroker;
use skep_protocol::limits::{MAX_NAME_LEN, MAX_OFFERS_PER_AGENT};
use skep_protocol::{AgentId, IdError, Lane};

use crate::clock;
use crate::failure::Failure;
use crate::handler::{Handler, SharedHandler};
use crate::payloads;
use crate::perform;
use crate::worker::{Stop, Worker};

/// How many tasks of a capability an agent performs at a time if it does not say.
const DEFAULT_SLOTS: u32 = 8;
/// How long a handler may go on after it was told to stop.
const DEFAULT_GRACE: Duration = Duration::from_secs(2);
/// How long an agent that leaves waits for its handlers; it has to report what became of them and
/// to be gone within the 30 s after which Kubernetes kills a process.
const DEFAULT_DRAIN: Duration = Duration::from_secs(20);
/// Hexadecimal digits that tell the processes of an agent apart.
const SUFFIX_LEN: usize = 8;

/// A set of handlers, ready to join a swarm.
///
/// ```
/// use skep_agent::{Agent, Context, Failure};
///
/// async fn index(context: Context, files: Vec<String>) -> Result<u64, Failure> {
///     let mut done: u64 = context.checkpoint().await?.unwrap_or_default();
///     for file in files.iter().skip(done as usize) {
///         context.progress(format!("indexing {file}"));
///         done += 1;
///         context.save_checkpoint(&done).await?;
///     }
///     Ok(done)
/// }
///
/// let agent = Agent::builder("indexer").serve("index", index).slots(2).label("disk", "ssd");
/// let agent = agent.build()?;
/// # Ok::<(), skep_agent::BuildError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Agent {
    pub(crate) name: String,
    pub(crate) id: Option<AgentId>,
    pub(crate) offers: BTreeMap<String, Offered>,
    pub(crate) total_slots: Option<u32>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) lane: Lane,
    pub(crate) software: String,
    pub(crate) grace: Duration,
    pub(crate) drain: Duration,
}

/// One capability and what performs it.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) handler: SharedHandler,
    pub(crate) slots: u32,
}

/// Builds an [`Agent`].
#[derive(Debug, Clone)]
#[must_use]
pub struct AgentBuilder {
    agent: Agent,
    /// The capability that `slots` speaks of.
    last: Option<String>,
    twice: Option<String>,
    default_slots: u32,
}

/// Why an agent cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Its name cannot be part of an id.
    #[error("the agent cannot have that name")]
    Name(#[source] IdError),
    /// Its name leaves no room for what tells its processes apart.
    #[error("the name of the agent has {len} bytes, at most {max} are allowed")]
    NameTooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// `serve` was never called.
    #[error("agent `{agent}` serves no capability: call `serve(\"name\", handler)` before `build`")]
    NoCapability {
        /// The agent.
        agent: String,
    },
    /// The name of a capability is not one that a step could ask for.
    #[error(
        "`{capability}` is no name of a capability: 1 to 64 of A-Z a-z 0-9 _ - are, starting with \
         a letter or _; a dot may stand between two parts"
    )]
    Capability {
        /// The name.
        capability: String,
    },
    /// `serve` was called twice for one capability.
    #[error("capability `{capability}` is served twice")]
    ServedTwice {
        /// The capability.
        capability: String,
    },
    /// It serves more capabilities than coordinators look at.
    #[error("agent `{agent}` serves {count} capabilities, at most {max} are allowed")]
    TooManyCapabilities {
        /// The agent.
        agent: String,
        /// How many it serves.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A capability could never be performed.
    #[error("{what} has 0 slots, so that it would never get a task")]
    NoSlots {
        /// Which capability, or the agent.
        what: String,
    },
}

impl Agent {
    /// Starts to describe an agent. The name is for people; each process of the agent gets an id of
    /// its own that starts with it.
    pub fn builder(name: &str) -> AgentBuilder {
        let agent = Self {
            name: name.to_owned(),
            id: None,
            offers: BTreeMap::new(),
            total_slots: None,
            labels: BTreeMap::new(),
            lane: Lane::Direct,
            software: concat!("skep-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
            grace: DEFAULT_GRACE,
            drain: DEFAULT_DRAIN,
        };
        AgentBuilder { agent, last: None, twice: None, default_slots: DEFAULT_SLOTS }
    }

    /// Returns the name that the agent was built with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the capabilities that the agent offers, sorted.
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.offers.keys().map(String::as_str)
    }

    /// Performs tasks that come over `broker`, until a coordinator tells the agent to drain.
    ///
    /// # Errors
    /// [`RunError`] if it left with something that nobody has confirmed.
    ///
    /// # Cancel safety
    /// Dropping it ends the agent as a crash would: its handlers are dropped, what it held is
    /// noticed by its silence. [`run_until`](Self::run_until) ends it in order.
    pub async fn run<B: AgentBroker>(&self, broker: &B) -> Result<(), RunError> {
        self.run_until(broker, std::future::pending()).await
    }

    /// Performs tasks that come over `broker`, until `stop` is ready or a coordinator tells the
    /// agent to drain. It then takes no more tasks, finishes those it holds within
    /// [`drain_within`](AgentBuilder::drain_within), gives back the others, and leaves once its
    /// reports are confirmed.
    ///
    /// # Errors
    /// [`RunError`] if it left with something that nobody has confirmed.
    ///
    /// # Cancel safety
    /// As for [`run`](Self::run).
    pub async fn run_until<B: AgentBroker>(
        &self,
        broker: &B,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), RunError> {
        let mut stop = std::pin::pin!(stop);
        let mut stop: Stop<'_> = stop.as_mut();
        match Worker::start(self.clone(), broker.clone(), &mut stop).await {
            Some(worker) => Box::pin(worker.run(stop)).await,
            None => Ok(()),
        }
    }

    /// Performs one task in this process as if a coordinator had sent it, through an embedded
    /// broker, and returns its output. For tests of handlers; no server is needed.
    ///
    /// # Errors
    /// The [`Failure`] of the attempt.
    ///
    /// # Cancel safety
    /// Dropping it drops the handler.
    pub async fn perform<I>(&self, capability: &str, input: I) -> Result<serde_json::Value, Failure>
    where
        I: Serialize + Send,
    {
        let input = payloads::encode_output(&input)?;
        Box::pin(perform::perform(self, capability, input)).await
    }

    /// Returns the id of one process of the agent.
    pub(crate) fn mint_id(&self) -> AgentId {
        if let Some(id) = &self.id {
            return id.clone();
        }
        let random = clock::mint().simple().to_string();
        let suffix = &random[random.len() - SUFFIX_LEN..];
        AgentId::new(&format!("{}-{suffix}", self.name)).expect("the name was checked by `build`")
    }
}

/// How an agent's life ended when it did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The agent left although nobody confirmed some of its reports: the steps will be attempted
    /// again.
    #[error("agent {agent} left before {reports} of its reports were confirmed")]
    Unconfirmed {
        /// The agent.
        agent: AgentId,
        /// How many reports.
        reports: usize,
    },
    /// It was told twice to end, and so did not finish what it held.
    #[error("agent `{agent}` was told to end at once; what it held will be attempted again")]
    Interrupted {
        /// Its name.
        agent: String,
    },
}

impl AgentBuilder {
    /// Lets `handler` perform the tasks of `capability`: the steps with `agent: CAPABILITY`.
    pub fn serve<Args: 'static>(mut self, capability: &str, handler: impl Handler<Args>) -> Self {
        let offered = Offered { handler: SharedHandler::new(handler), slots: self.default_slots };
        if self.agent.offers.insert(capability.to_owned(), offered).is_some() {
            self.twice = Some(capability.to_owned());
        }
        self.last = Some(capability.to_owned());
        self
    }

    /// Sets how many tasks of the capability served last are performed at a time (default 8).
    /// Before the first `serve` it sets the default of all. However many there are, an agent holds
    /// no more attempts than a heartbeat can name: about 1 500.
    pub fn slots(mut self, slots: u32) -> Self {
        match self.last.as_ref().and_then(|last| self.agent.offers.get_mut(last)) {
            Some(offered) => offered.slots = slots,
            None => self.default_slots = slots,
        }
        self
    }

    /// Bounds how many tasks are performed at a time over all capabilities.
    pub fn total_slots(mut self, slots: u32) -> Self {
        self.agent.total_slots = Some(slots);
        self
    }

    /// Adds a word that steps can choose agents by (`labels:` in a definition).
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.agent.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the way by which tasks come: sent by the coordinator (the default), or pulled from the
    /// queue that agents in other languages use.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.agent.lane = lane;
        self
    }

    /// Names the program and its version, for people.
    pub fn software(mut self, software: &str) -> Self {
        software.clone_into(&mut self.agent.software);
        self
    }

    /// Gives the agent an id that does not change. No two processes may have it at the same time.
    pub fn id(mut self, id: AgentId) -> Self {
        self.agent.id = Some(id);
        self
    }

    /// Sets how long a handler may go on after it was cancelled or ran out of time (default 2 s).
    pub fn cancel_within(mut self, grace: Duration) -> Self {
        self.agent.grace = grace;
        self
    }

    /// Sets how long an agent that leaves waits for its handlers (default 20 s). It is gone at most
    /// 5 s later, or 3 s after the time of [`cancel_within`](Self::cancel_within) if that is more;
    /// 10 s if it is quick.
    pub fn drain_within(mut self, limit: Duration) -> Self {
        self.agent.drain = limit;
        self
    }

    /// Checks what was described.
    ///
    /// # Errors
    /// Every variant of [`BuildError`].
    pub fn build(self) -> Result<Agent, BuildError> {
        let agent = self.agent;
        AgentId::new(&agent.name).map_err(BuildError::Name)?;
        let max = MAX_NAME_LEN - SUFFIX_LEN - 1;
        if agent.name.len() > max {
            return Err(BuildError::NameTooLong { len: agent.name.len(), max });
        }
        if let Some(capability) = self.twice {
            return Err(BuildError::ServedTwice { capability });
        }
        if agent.offers.is_empty() {
            return Err(BuildError::NoCapability { agent: agent.name });
        }
        let (count, max) = (agent.offers.len(), MAX_OFFERS_PER_AGENT);
        if count > max {
            return Err(BuildError::TooManyCapabilities { agent: agent.name, count, max });
        }
        for (capability, offered) in &agent.offers {
            if !is_name(capability) {
                return Err(BuildError::Capability { capability: capability.clone() });
            }
            if offered.slots == 0 {
                return Err(BuildError::NoSlots { what: format!("capability `{capability}`") });
            }
        }
        if agent.total_slots == Some(0) {
            return Err(BuildError::NoSlots { what: format!("agent `{}`", agent.name) });
        }
        Ok(agent)
    }
}

/// The names that a definition may use for a capability: words, with dots between them.
fn is_name(text: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(rest);
    text.len() <= MAX_NAME_LEN
        && text.bytes().next().is_some_and(first)
        && text.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_capabilities_than_are_looked_at_are_told() {
        let serving = |count: usize| {
            let names = (0..count).map(|number| format!("c{number}"));
            let serve = |agent: AgentBuilder, name: String| {
                agent.serve(&name, async |n: u8| Ok::<_, Failure>(n))
            };
            names.fold(Agent::builder("a"), serve).build()
        };
        assert!(serving(MAX_OFFERS_PER_AGENT).is_ok());
        let error = serving(MAX_OFFERS_PER_AGENT + 1).unwrap_err().to_string();
        assert_eq!(error, "agent `a` serves 65 capabilities, at most 64 are allowed");
    }
}
