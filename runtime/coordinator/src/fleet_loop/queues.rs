//! The queues from which agents of the queue lane pull.

use skep_broker::Broker;
use skep_engine::fleet::FleetInput;
use skep_protocol::Task;

use super::FleetLoop;
use crate::observe;

impl<B: Broker> FleetLoop<B> {
    /// A task that does not get there is missed when the depth is asked for.
    pub(super) fn enqueue(&mut self, mut task: Task, sending: u32) {
        task.sent(self.clock.now());
        let broker = self.broker.clone();
        self.jobs.spawn(async move {
            if let Err(error) = broker.offer(task, sending).await {
                observe::given_up("put a task into its queue", &error);
            }
            None
        });
    }

    pub(super) fn clear_queue(&mut self, capability: String) {
        let broker = self.broker.clone();
        self.jobs.spawn(async move {
            if let Err(error) = broker.clear(&capability).await {
                observe::given_up("clear a queue", &error);
            }
            None
        });
    }

    pub(super) fn ask_depth(&mut self, capability: String) {
        let broker = self.broker.clone();
        self.jobs.spawn(async move {
            let depth = broker.depth(&capability).await.ok()?;
            let (waiting, held) = (depth.waiting, depth.held);
            Some(FleetInput::Depth { capability, waiting, held })
        });
    }
}
