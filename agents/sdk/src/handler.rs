//! What an agent author writes: an async function from a typed input to a typed output.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::context::Context;
use crate::failure::Failure;
use crate::news::Teller;
use crate::payloads::{self, Output, Text};

/// Something that performs the tasks of one capability: an async function or closure that takes
/// the input, or a [`Context`] and the input, and returns a `Result`.
///
/// The error may be a [`Failure`] or anything that becomes one, every [`std::error::Error`]
/// included. When an attempt is cancelled or runs out of time the future of the handler is dropped,
/// after a grace in which [`Context::cancelled`] is ready.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler",
    label = "not a handler",
    note = "a handler is `async fn(Input) -> Result<Output, Error>` or \
            `async fn(Context, Input) -> Result<Output, Error>`, where `Input` is deserializable, \
            `Output` serializable, `Error` a `Failure` or an error, and the future `Send`"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// What the `with` of a step has to fit.
    type Input: DeserializeOwned + Send;
    /// What becomes the output of the step.
    type Output: Serialize;

    /// Performs one attempt.
    fn call(
        &self,
        context: Context,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

impl<F, Fut, I, O, E> Handler<(I,)> for F
where
    F: Fn(I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, E>> + Send,
    I: DeserializeOwned + Send,
    O: Serialize,
    E: Into<Failure>,
{
    type Input = I;
    type Output = O;

    async fn call(&self, _context: Context, input: I) -> Result<O, Failure> {
        self(input).await.map_err(Into::into)
    }
}

impl<F, Fut, I, O, E> Handler<(Context, I)> for F
where
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, E>> + Send,
    I: DeserializeOwned + Send,
    O: Serialize,
    E: Into<Failure>,
{
    type Input = I;
    type Output = O;

    async fn call(&self, context: Context, input: I) -> Result<O, Failure> {
        self(context, input).await.map_err(Into::into)
    }
}

/// A handler of any types: JSON in, JSON out.
pub(crate) trait AnyHandler: Send + Sync {
    fn spawn(self: Arc<Self>, context: Context, input: Text) -> JoinHandle<()>;
}

struct Typed<H, Args> {
    handler: H,
    args: PhantomData<fn(Args)>,
}

impl<H: Handler<Args>, Args: 'static> AnyHandler for Typed<H, Args> {
    fn spawn(self: Arc<Self>, context: Context, input: Text) -> JoinHandle<()> {
        let (teller, span) = (Teller::of(context.clone()), context.span());
        let work = async move {
            let decoded = payloads::decode_input::<H::Input>(&input)?;
            drop(input);
            let output = self.handler.call(context, decoded).await?;
            payloads::encode_output(&output).map(Output::from)
        };
        let told = AssertUnwindSafe(work).catch_unwind().map(move |ended| teller.ended(ended));
        tokio::spawn(told.instrument(span))
    }
}

/// A handler as the agent keeps it.
#[derive(Clone)]
pub(crate) struct SharedHandler(Arc<dyn AnyHandler>);

impl SharedHandler {
    pub(crate) fn new<Args: 'static>(handler: impl Handler<Args>) -> Self {
        Self(Arc::new(Typed { handler, args: PhantomData }))
    }

    /// Starts a task of its own for one attempt: a panic ends nothing else, and a handler that
    /// blocks its thread holds nobody up. How it ends is told as news.
    pub(crate) fn spawn(&self, context: Context, input: Text) -> JoinHandle<()> {
        Arc::clone(&self.0).spawn(context, input)
    }
}

impl fmt::Debug for SharedHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedHandler")
    }
}
