//! The ready-made agents, put together.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use skep_agent::{Agent, BuildError, Context, Failure};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::sync::CancellationToken;

use crate::corpus::{self, Corpus, CorpusConfig, CorpusError};
use crate::exec::{self, ExecConfig, ExecError, ExecInput};
use crate::http::{HttpClient, HttpConfig, HttpInput};

/// Which ready-made agents to start, and what the operator allows each of them.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// Capability `exec`.
    pub exec: Option<ExecConfig>,
    /// Capability `http`.
    pub http: Option<HttpConfig>,
    /// The capabilities `corpus-…`.
    pub corpus: Option<CorpusConfig>,
}

/// Why the agents cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StockError {
    /// The HTTP client could not set up TLS.
    #[error("cannot prepare the http agent")]
    Http(#[source] reqwest::Error),
    /// The configuration makes no agent: no slots, say.
    #[error("cannot build an agent")]
    Build(#[from] BuildError),
}

impl Stock {
    /// Builds one agent for each part that is configured, ready for
    /// [`Agent::run_until`].
    ///
    /// # Errors
    /// [`StockError`]
    pub fn agents(&self) -> Result<Vec<Agent>, StockError> {
        let mut agents = Vec::new();
        if let Some(config) = &self.exec {
            agents.push(exec_agent(config.clone())?);
        }
        if let Some(config) = &self.http {
            agents.push(http_agent(config.clone())?);
        }
        if let Some(config) = &self.corpus {
            agents.push(corpus_agent(config.clone())?);
        }
        Ok(agents)
    }
}

fn exec_agent(config: ExecConfig) -> Result<Agent, StockError> {
    let (slots, grace) = (config.slots, config.grace);
    let config = Arc::new(config);
    let handler = move |context: Context, input: ExecInput| {
        let config = Arc::clone(&config);
        async move {
            let output = exec::run(&config, &input, exec::surroundings(&context)).await;
            output.map_err(ExecError::failure)
        }
    };
    let agent = Agent::builder("exec").serve("exec", handler).slots(slots);
    Ok(agent.cancel_within(grace + Duration::from_secs(1)).build()?)
}

fn http_agent(config: HttpConfig) -> Result<Agent, StockError> {
    let slots = config.slots;
    let client = HttpClient::new(config).map_err(StockError::Http)?;
    let handler = move |context: Context, input: HttpInput| {
        let client = client.clone();
        async move {
            let answer = client.send(&input, &context.idempotency_key()).await;
            answer.map_err(crate::http::HttpError::failure)
        }
    };
    Ok(Agent::builder("http").serve("http", handler).slots(slots).build()?)
}

fn corpus_agent(config: CorpusConfig) -> Result<Agent, StockError> {
    let slots = config.slots;
    let corpus = &Corpus::new(config);
    let agent = Agent::builder("corpus")
        .slots(slots)
        .serve(
            "corpus-discover",
            blocking(corpus, |corpus, input, stop| corpus.discover(&input, stop)),
        )
        .serve("corpus-open", blocking(corpus, |corpus, input, _| corpus.open(input)))
        .serve("corpus-ingest", blocking(corpus, |corpus, input, stop| corpus.ingest(&input, stop)))
        .serve(
            "corpus-summary",
            blocking(corpus, |corpus, input, stop| corpus.summary(&input, stop)),
        )
        .serve("corpus-search", blocking(corpus, |corpus, input, stop| corpus.search(&input, stop)))
        .serve("corpus-rerank", blocking(corpus, |_, input, _| Ok(corpus::rerank(input))))
        .serve("corpus-answer", blocking(corpus, |_, input, _| Ok(corpus::answer(input))))
        .serve("corpus-report", blocking(corpus, |corpus, input, _| corpus.report(&input)))
        .serve("corpus-forget", blocking(corpus, |corpus, input, _| corpus.forget(input)));
    Ok(agent.build()?)
}

/// Makes a handler of work that blocks.
fn blocking<I, O>(
    corpus: &Corpus,
    work: fn(&Corpus, I, &CancellationToken) -> Result<O, CorpusError>,
) -> impl Fn(Context, I) -> BoxFuture<'static, Result<O, Failure>> + Send + Sync + 'static
where
    I: Send + 'static,
    O: Send + 'static,
{
    let corpus = corpus.clone();
    move |context, input| {
        let corpus = corpus.clone();
        Box::pin(async move {
            let stop = context.cancellation().child_token();
            let token = stop.clone();
            let done = in_place(move || work(&corpus, input, &token), stop).await;
            done?.map_err(CorpusError::failure)
        })
    }
}

/// Performs work that blocks. It occupies the task that polls it, so that an attempt which is over
/// keeps its slot until the work has really ended. The one thread of a small runtime is needed for
/// heartbeats: there the work goes elsewhere, and is only told to stop when the attempt is over.
async fn in_place<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    stop: CancellationToken,
) -> Result<T, Failure> {
    if Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread {
        return Ok(tokio::task::block_in_place(work));
    }
    let _stop = stop.drop_guard();
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::new("stopped", error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dropped_attempt_is_not_over_before_its_work() {
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let (go_on, waiting) = mpsc::channel::<()>();
        let work = move || {
            begun.send(()).unwrap();
            waiting.recv().unwrap();
        };
        let attempt = tokio::spawn(in_place(work, CancellationToken::new()));
        beginning.await.unwrap();
        attempt.abort();
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
            assert!(!attempt.is_finished(), "the slot is free although the work goes on");
        }
        go_on.send(()).unwrap();
        attempt.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn on_one_thread_work_is_told_to_stop_when_its_attempt_is_dropped() {
        let (begun, beginning) = tokio::sync::oneshot::channel();
        let (stopped, stopping) = tokio::sync::oneshot::channel();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let work = move || {
            begun.send(()).unwrap();
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
            stopped.send(()).unwrap();
        };
        let attempt = tokio::spawn(in_place(work, stop));
        beginning.await.unwrap();
        attempt.abort();
        attempt.await.unwrap_err();
        stopping.await.unwrap();
    }
}
