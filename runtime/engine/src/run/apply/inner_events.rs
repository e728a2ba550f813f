//! Events that bring inner steps into being: items and groups.

use super::*;

impl Run {
    pub(super) fn expanded(
        &mut self,
        id: NodeId,
        event: &StepExpanded,
        at: Timestamp,
        index: &mut Index,
    ) -> Applied {
        let begun = self.node(id).phase.progress();
        let fresh = Progress { total: event.total, ..Progress::default() };
        let mut progress = begun.unwrap_or(fresh);
        let known = progress.known as usize + event.items.len();
        let follows = event.offset == progress.known && event.total == progress.total;
        if !self.is_fan(id) || !follows || known > event.total as usize {
            return self.out_of_place("items that do not follow from those before");
        }
        self.check_shift(id, &Phase::Expanded(progress))?;
        if event.offset == 0 {
            self.create_items(id, event.total);
        }
        for (index, payload) in (event.offset as usize..).zip(&event.items) {
            let item = self.items_of(id)[index];
            if let Some(before) = self.state.items.insert(item, payload.clone()) {
                self.keep_item(item, &before);
            }
            progress.known += 1;
        }
        if progress.known == progress.total {
            let limit = self.definition(id).for_each().and_then(|fan| fan.max_parallel);
            let limit = limit.map_or(u32::MAX, std::num::NonZero::get);
            progress.admitted = limit.min(progress.total);
        }
        self.change(id, index, |node| {
            node.began.begin(at);
            node.phase = Phase::Expanded(progress);
        });
        if self.to_keep() > 0 {
            self.fact_kept(index);
        }
        for position in 0..progress.admitted as usize {
            let item = self.items_of(id)[position];
            self.enqueue(item, index);
        }
        self.enqueue(id, index);
        Ok(())
    }

    fn create_items(&mut self, id: NodeId, total: u32) {
        let (step, scope) = (self.node(id).step, self.node(id).scope);
        let mut inner = self.node_mut(id).seldom.inner.take().unwrap_or_default();
        inner.used = total as usize;
        let starts_over = !inner.items.is_empty();
        for item in inner.items.iter().take(inner.used) {
            self.node_mut(*item).reset();
        }
        while inner.items.len() < inner.used {
            let index = u32::try_from(inner.items.len()).expect("items are bounded");
            inner.items.push(self.next_node());
            self.state.nodes.push(StepState::pending(step, scope, Some((id, index))));
        }
        if starts_over {
            self.start_over(&inner.items);
        }
        self.node_mut(id).seldom.inner = Some(inner);
    }

    pub(super) fn group_started(
        &mut self,
        id: NodeId,
        at: Timestamp,
        index: &mut Index,
    ) -> Applied {
        let not_before = self.not_before(id);
        self.check_shift(id, &Phase::Group { round: 1 })?;
        self.change(id, index, |node| {
            node.began.begin(at);
            node.seldom.first.get_or_insert(at);
            node.phase = Phase::Group { round: 1 };
        });
        self.open_group(id, not_before, index);
        Ok(())
    }

    pub(super) fn group_restarted(
        &mut self,
        id: NodeId,
        round: u32,
        not_before: Timestamp,
        index: &mut Index,
    ) -> Applied {
        let inner = self.node(id).inner.as_ref();
        let open = inner.and_then(|inner| inner.scope).map(|scope| self.scope(scope).open);
        if open != Some(0) || !matches!(self.node(id).phase, Phase::Group { .. }) {
            return self.out_of_place("the start-over of a group that is under way");
        }
        self.shift(id, Phase::Group { round }, index)?;
        self.open_group(id, not_before, index);
        Ok(())
    }

    fn open_group(&mut self, id: NodeId, not_before: Timestamp, index: &mut Index) {
        let scope = self.open_scope(id, not_before);
        self.enqueue_scope(scope, index);
        self.enqueue(id, index);
    }
}
