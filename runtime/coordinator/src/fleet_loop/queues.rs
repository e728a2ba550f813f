//! The queues from which agents of the queue lane pull.

use skep_broker::Broker;
use skep_engine::fleet::FleetInput;
use skep_protocol::Task;

use super::FleetLoop;
use crate::observe;

impl<B: Broker> FleetLoop<B> {
    /// Has a task put into its queue, together with those that come with it.
    pub(super) fn enqueue(&mut self, mut task: Task, sending: u32) {
        task.sent(self.clock.now());
        self.queued.push((task, sending));
    }

    /// Puts tasks into their queues. One that does not get there is missed when the depth is asked
    /// for, or when what came after it has been pulled.
    pub(super) fn fill_queues(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let (broker, tasks) = (self.broker.clone(), std::mem::take(&mut self.queued));
        self.jobs.spawn(async move {
            if let Err(error) = broker.offer_all(tasks).await {
                observe::given_up("put tasks into their queues", &error);
            }
            None
        });
    }

    pub(super) fn clear_queue(&mut self, capability: String) {
        self.fill_queues();
        let broker = self.broker.clone();
        self.jobs.spawn(async move {
            if let Err(error) = broker.clear(&capability).await {
                observe::given_up("clear a queue", &error);
            }
            None
        });
    }

    pub(super) fn ask_depth(&mut self, capability: String) {
        self.fill_queues();
        let broker = self.broker.clone();
        self.jobs.spawn(async move {
            let depth = broker.depth(&capability).await.ok()?;
            let (waiting, held) = (depth.waiting, depth.held);
            Some(FleetInput::Depth { capability, waiting, held })
        });
    }
}
