//! The ready-made agents, put together.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use skep_agent::{Agent, BuildError, Context, Failure};

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
        .serve("corpus-discover", blocking(corpus, |corpus, input| corpus.discover(&input)))
        .serve("corpus-open", blocking(corpus, Corpus::open))
        .serve("corpus-ingest", blocking(corpus, |corpus, input| corpus.ingest(&input)))
        .serve("corpus-summary", blocking(corpus, |corpus, input| corpus.summary(&input)))
        .serve("corpus-search", blocking(corpus, |corpus, input| corpus.search(&input)))
        .serve("corpus-rerank", blocking(corpus, |_, input| Ok(corpus::rerank(input))))
        .serve("corpus-answer", blocking(corpus, |_, input| Ok(corpus::answer(input))))
        .serve("corpus-report", blocking(corpus, |corpus, input| corpus.report(&input)))
        .serve("corpus-forget", blocking(corpus, Corpus::forget));
    Ok(agent.build()?)
}

/// Makes a handler of work that blocks.
fn blocking<I, O>(
    corpus: &Corpus,
    work: fn(&Corpus, I) -> Result<O, CorpusError>,
) -> impl Fn(I) -> BoxFuture<'static, Result<O, Failure>> + Send + Sync + 'static
where
    I: Send + 'static,
    O: Send + 'static,
{
    let corpus = corpus.clone();
    move |input| {
        let corpus = corpus.clone();
        let done = tokio::task::spawn_blocking(move || work(&corpus, input));
        Box::pin(async move {
            match done.await {
                Ok(result) => result.map_err(CorpusError::failure),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(error) => Err(Failure::new("stopped", error.to_string())),
                },
            }
        })
    }
}
