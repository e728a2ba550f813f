//! How much memory and processor time processes take, where the system tells.

use std::fs::{read_dir, read_to_string};

/// Returns the most memory this process ever had, in KiB.
pub(super) fn peak_kib() -> Option<u64> {
    field(&read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Returns how much memory a process has, in MiB.
pub(super) fn resident_mib(process: u32) -> Option<f64> {
    let status = read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(field(&status, "VmRSS:")? as f64 / 1024.0)
}

/// Returns the most memory a process ever had, in MiB.
pub(super) fn peak_mib(process: u32) -> Option<f64> {
    let status = read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(field(&status, "VmHWM:")? as f64 / 1024.0)
}

/// Returns how long the threads of a process that are there have run, in seconds.
pub(super) fn processor_s(process: u32) -> Option<f64> {
    let threads = read_dir(format!("/proc/{process}/task")).ok()?;
    let ran = threads.flatten().filter_map(|thread| {
        let text = read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    Some(ran.sum::<f64>() / 1e9)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory_and_time() {
        let me = std::process::id();
        assert!(resident_mib(me).unwrap() > 0.5 && peak_kib().unwrap() > 500);
        assert!(peak_mib(me).unwrap() >= 0.5);
        let before = processor_s(me).unwrap();
        let mut sum = 0_u64;
        while processor_s(me).unwrap() <= before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(processor_s(0).is_none());
    }
}
