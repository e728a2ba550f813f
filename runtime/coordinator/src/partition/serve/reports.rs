//! Reports on their way to the engine.

use skep_broker::Broker;
use skep_protocol::ReportBatch;

use super::super::End;
use super::super::commit::Unit;
use super::super::report::{Asker, Ticket, incoming};
use super::{Origin, Serving};

impl<B: Broker> Serving<B> {
    pub(super) fn report(&mut self, batch: ReportBatch, asker: Asker) -> Result<(), End> {
        let ticket = Ticket::new(batch.reports.len(), asker);
        if batch.reports.is_empty() {
            self.commit.push(Unit::new(Vec::new(), Vec::new(), vec![ticket.into_release()]));
            return Ok(());
        }
        self.next_ticket += 1;
        let number = self.next_ticket;
        self.tickets.insert(number, ticket);
        for (report, input) in incoming(number, batch) {
            self.decide(input, Origin::Report(report))?;
        }
        Ok(())
    }
}
