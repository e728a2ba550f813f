//! What figures were found under.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The settings of one benchmark, by name, in the order in which people read them.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    broker: &'static str,
    lane: Option<&'static str>,
    values: Vec<(&'static str, Value)>,
}

impl Settings {
    /// Returns what holds for this program and machine, without a broker.
    pub(super) fn of_program() -> Self {
        Self::new("none", None)
    }

    /// Returns what holds for this program and machine.
    pub(super) fn new(broker: &'static str, lane: Option<&'static str>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut this = Self { broker, lane, values: Vec::new() };
        this.set("skep", env!("CARGO_PKG_VERSION"));
        if cfg!(debug_assertions) {
            this.set("build", "debug");
        }
        this.set("cores", cores);
        this
    }

    /// Adds one.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.values.push((name, value.into()));
    }

    pub(super) const fn broker(&self) -> &'static str {
        self.broker
    }

    pub(super) const fn lane(&self) -> Option<&'static str> {
        self.lane
    }

    pub(super) fn to_json(&self) -> Value {
        let values = self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Object(values.collect::<Map<_, _>>())
    }

    pub(super) fn to_text(&self, times: usize) -> String {
        let named: BTreeMap<_, _> = [("skep", "skep "), ("nats_server", "nats-server ")].into();
        let each = self.values.iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match named.get(name) {
                Some(prefix) => format!("{prefix}{value}"),
                None if value.parse::<f64>().is_ok() => {
                    format!("{value} {}", name.replace('_', " "))
                }
                None => format!("{} {value}", name.replace('_', " ")),
            }
        });
        format!("median of {times}; {}", each.collect::<Vec<_>>().join(", "))
    }

    #[cfg(test)]
    pub(super) fn of_tests() -> Self {
        let values = vec![("skep", "0.0.0".into()), ("cores", 2.into())];
        Self { broker: "nats", lane: Some("direct"), values }
    }
}
