//! The inputs of runs that are kept parsed: those that were read lately. Others are parsed again.

use std::collections::VecDeque;
use std::sync::Arc;

use skep_protocol::RunId;

use super::Partition;

/// Inputs that are kept parsed, in bytes of their text; the last ones are kept whatever their size.
const MOST: usize = 1024 * 1024;
/// What inputs take beside their text.
const BESIDE: usize = 512;

/// Whose inputs are kept, the one first that was read first.
#[derive(Debug, Clone, Default)]
pub(super) struct ParsedInputs {
    order: VecDeque<(RunId, usize)>,
    size: usize,
}

impl Partition {
    /// Takes note of inputs of so many bytes that were parsed just now and are kept, and forgets
    /// older ones.
    pub(super) fn count_inputs(&mut self, id: RunId, size: usize) {
        let size = size.saturating_add(BESIDE);
        self.inputs.order.push_back((id, size));
        self.inputs.size += size;
        while self.inputs.size > MOST && self.inputs.order.len() > 1 {
            let Some((oldest, size)) = self.inputs.order.pop_front() else { return };
            self.inputs.size -= size;
            if let Some(run) = self.runs.get_mut(&oldest) {
                Arc::make_mut(run).drop_inputs();
            }
        }
    }
}
