//! Tracing: what skep is doing inside, on stderr.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::output::Format;

/// Starts tracing. `SKEP_LOG` (a filter such as `skep_coordinator=debug`) outranks `-v`.
pub(crate) fn init(verbosity: u8, quiet: &'static str, format: Format) {
    let default = match verbosity {
        0 => quiet,
        1 => "info",
        2 => {
            "info,skep=debug,skep_coordinator=debug,skep_nats=debug,skep_agent=debug,\
              skep_agents=debug"
        }
        _ => {
            "debug,skep=trace,skep_coordinator=trace,skep_nats=trace,skep_agent=trace,\
              skep_agents=trace"
        }
    };
    let written = std::env::var("SKEP_LOG").ok().filter(|text| !text.trim().is_empty());
    let filter = match written.as_deref().map(|text| EnvFilter::builder().parse(text)) {
        None => EnvFilter::new(default),
        Some(Ok(filter)) => filter,
        Some(Err(error)) => {
            crate::output::warn(format!("SKEP_LOG is no filter ({error}) and is passed over"));
            EnvFilter::new(default)
        }
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines)
        .with_ansi(crate::output::has_colour());
    let set = match format {
        Format::Text => subscriber.with_target(verbosity > 1).try_init(),
        Format::Json => subscriber.json().try_init(),
    };
    if let Err(error) = set {
        crate::output::warn(format!("tracing cannot be started: {error}"));
    }
}

/// Takes whole lines, as the formatter writes them.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        crate::output::note(String::from_utf8_lossy(line).trim_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
