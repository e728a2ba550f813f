//! How much memory processes have, where the system tells.

/// Returns the most memory this process ever had, in KiB.
pub(super) fn peak_kib() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Returns how much memory a process has, in MiB.
pub(super) fn resident_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(field(&status, "VmRSS:")? as f64 / 1024.0)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
