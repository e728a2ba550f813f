//! What the processes of a cluster use: memory, and how long they ran.

use super::super::usage::{peak_mib, processor_s, resident_mib};
use super::Cluster;
use crate::process::Process;

impl Cluster {
    /// Returns how much memory its processes have, in MiB: of several of a kind, the largest.
    pub(in super::super) fn memory(&self) -> Vec<(&'static str, f64)> {
        let largest = |processes: &[Process]| {
            let sizes = processes.iter().filter_map(|process| resident_mib(process.pid()?));
            sizes.max_by(f64::total_cmp)
        };
        let server = self.server.as_ref().and_then(|server| resident_mib(server.pid()?));
        let of = [
            ("rss_mib", largest(&self.coordinators)),
            ("agent_rss_mib", largest(&self.agents)),
            ("nats_server_rss_mib", server),
        ];
        of.into_iter().filter_map(|(name, size)| Some((name, size?))).collect()
    }

    /// Returns the most memory that its coordinators ever had, in MiB: of several, the largest.
    pub(super) fn peak_memory(&self) -> Option<f64> {
        let peaks = self.coordinators.iter().filter_map(|process| peak_mib(process.pid()?));
        peaks.max_by(f64::total_cmp)
    }

    /// Returns how long its processes have run, in seconds: all of a kind together.
    pub(super) fn processor(&self) -> Vec<(Ran, f64)> {
        let all = |processes: &[Process]| {
            processes.iter().filter_map(|process| processor_s(process.pid()?)).sum::<f64>()
        };
        let server = self.server.as_ref().and_then(|server| processor_s(server.pid()?));
        let mut of = Vec::new();
        if let Some(server) = server {
            of.push((Ran::COORDINATOR, all(&self.coordinators)));
            of.push((Ran::SERVER, server));
        }
        of.push((Ran::AGENT, all(&self.agents)));
        of
    }
}

/// Under which names it is told how long a kind of process ran.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Ran {
    pub(in super::super) per_step: &'static str,
    pub(in super::super) per_start: &'static str,
}

impl Ran {
    const COORDINATOR: Self =
        Self { per_step: "coordinator_us_per_step", per_start: "coordinator_us_per_start" };
    const SERVER: Self =
        Self { per_step: "nats_server_us_per_step", per_start: "nats_server_us_per_start" };
    const AGENT: Self = Self { per_step: "agent_us_per_step", per_start: "agent_us_per_start" };
    pub(super) const ALL: Self =
        Self { per_step: "all_us_per_step", per_start: "all_us_per_start" };
}
