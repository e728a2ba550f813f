//! Handlers, watched, and at times worse than they are.

use std::sync::Arc;
use std::time::Duration;

use skep_agent::{AgentBuilder, Context, Failure, Handler};
use tokio::time::sleep;

use crate::faults::Fault;
use crate::network::Client;
use crate::witness::Begun;

/// Lets an agent serve one capability.
pub(crate) type Serve = Arc<dyn Fn(AgentBuilder, &Client) -> AgentBuilder + Send + Sync>;

/// Returns what lets agents serve `capability` by `handler`, each so many at a time.
pub(crate) fn serve<Args: 'static>(
    capability: &str,
    handler: impl Handler<Args>,
    slots: u32,
) -> Serve {
    let (capability, handler) = (capability.to_owned(), Arc::new(handler));
    Arc::new(move |builder, client| {
        let (client, handler) = (client.clone(), Arc::clone(&handler));
        builder.serve::<Through<Args>>(&capability, Watched { handler, client, slots }).slots(slots)
    })
}

/// The arguments of a handler that is watched.
struct Through<Args>(std::marker::PhantomData<Args>);

struct Watched<H> {
    handler: Arc<H>,
    client: Client,
    slots: u32,
}

/// A handler that runs.
struct Running {
    client: Client,
    begun: Begun,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.client.network.witness.ended(&self.begun);
    }
}

impl<Args, H> Handler<Through<Args>> for Watched<H>
where
    Args: 'static,
    H: Handler<Args>,
{
    type Input = H::Input;
    type Output = H::Output;

    async fn call(&self, context: Context, input: H::Input) -> Result<H::Output, Failure> {
        let begun = self.client.network.witness.began(&context, self.slots);
        let _running = Running { client: self.client.clone(), begun };
        self.mood(&context).await?;
        self.client.link.running().await;
        self.handler.call(context, input).await
    }
}

impl<H> Watched<H> {
    /// Does what handlers do at times.
    async fn mood(&self, context: &Context) -> Result<(), Failure> {
        let network = &self.client.network;
        if network.has(Fault::Delay) {
            let longest = network.draw(|chance| *chance.pick(&[0, 0, 20, 400, 4_000]));
            sleep(network.draw(|c| c.between(Duration::ZERO, Duration::from_millis(longest))))
                .await;
        }
        if !network.has(Fault::HandlerFails) {
            return Ok(());
        }
        match network.draw(|chance| chance.below(60)) {
            0..=3 => Err(Failure::new("simulated", "it may work the next time")),
            4 => Err(Failure::fatal("simulated", "it will never work")),
            5 => {
                network.witness.reached("handler panics");
                // Not by `panic!`, which would tell everybody.
                std::panic::resume_unwind(Box::new("simulated"))
            }
            6 => {
                network.witness.reached("handler hangs");
                context.cancelled().await;
                Ok(())
            }
            7 => {
                let wait = network.draw(|c| c.between(Duration::ZERO, Duration::from_secs(90)));
                sleep(wait).await;
                Ok(())
            }
            8..=11 => {
                context.progress("half way");
                context.save_checkpoint(&context.attempt()).await
            }
            _ => Ok(()),
        }
    }
}
