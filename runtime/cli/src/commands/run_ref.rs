//! How a run is named on the command line.

use clap::Args;
use skep_broker::Broker;
use skep_protocol::{RunFilter, RunId};

use crate::client::Client;
use crate::error::{Error, Exit};

/// So many runs are looked at, the latest ones.
const LOOKED_AT: u32 = 10_000;
/// Fewer characters than this name no run.
const SHORTEST: usize = 4;

/// A run, named by its id, by the start or the end of it, or as the latest one that somebody
/// started.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunRef {
    /// The run: its id, a unique start or end of it (4 or more characters), or `latest`, which is
    /// no run of a sub-workflow.
    #[arg(id = "RUN", value_name = "RUN")]
    text: String,
}

impl From<String> for RunRef {
    fn from(text: String) -> Self {
        Self { text }
    }
}

impl RunRef {
    /// Finds out which run is meant.
    pub(crate) async fn resolve<B: Broker>(&self, client: &Client<B>) -> Result<RunId, Error> {
        if let Ok(run) = self.text.parse() {
            return Ok(run);
        }
        let hexadecimal = self.text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if self.text != "latest" && (self.text.len() < SHORTEST || !hexadecimal) {
            return Err(nowhere(&self.text));
        }
        let top = self.text == "latest";
        let limit = if top { 1 } else { LOOKED_AT };
        let runs = client.runs(RunFilter { limit, top, ..RunFilter::default() }).await?;
        let runs = runs.into_iter().map(|summary| summary.run);
        pick(&self.text, runs.collect())
    }
}

fn nowhere(text: &str) -> Error {
    let error = Error::new(Exit::NotFound, format!("there is no run `{text}`"));
    let error = error.help(format!(
        "a run is named by its id, by a unique start or end of it of at least {SHORTEST} \
         characters, or by `latest`"
    ));
    error.help("see what there is: skep list")
}

fn pick(text: &str, runs: Vec<RunId>) -> Result<RunId, Error> {
    let text = text.to_ascii_lowercase();
    let is_meant = |run: &RunId| {
        let id = run.to_string();
        text == "latest" || id.starts_with(&text) || id.ends_with(&text)
    };
    let found: Vec<RunId> = runs.into_iter().filter(is_meant).collect();
    match found.as_slice() {
        [run] => Ok(*run),
        [] if text == "latest" => {
            Err(Error::new(Exit::NotFound, "nothing has run yet")
                .help("start a run: skep run FILE"))
        }
        [] => Err(nowhere(&text)),
        [first, second, ..] => Err(Error::usage(format!("`{text}` names {} runs", found.len()))
            .help(format!("{first}, {second}, …: give more of the id"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_id_names_a_run_if_only_one_has_it() {
        let runs: Vec<RunId> =
            ["0192d3a4-1b2c-7def-8123-456789abcdef", "0192d3a4-1b2c-7def-8123-000000000000"]
                .iter()
                .map(|id| id.parse().unwrap())
                .collect();
        let exit = |text| pick(text, runs.clone()).map_err(|error| error.exit());
        assert_eq!(exit("CDEF"), Ok(runs[0]));
        assert_eq!(exit("0000"), Ok(runs[1]));
        assert_eq!(exit("0192"), Err(Exit::Usage));
        assert_eq!(exit("ffff"), Err(Exit::NotFound));
        let error = pick("latest", Vec::new()).unwrap_err();
        assert_eq!(
            (error.exit(), error.to_string().as_str()),
            (Exit::NotFound, "nothing has run yet")
        );
    }

    #[tokio::test]
    async fn what_cannot_be_a_part_of_an_id_names_no_run() {
        let partitions = skep_protocol::PartitionCount::DEFAULT;
        let client = Client::new(skep_broker::Embedded::new(), partitions);
        for text in ["nix", "01", "", "nonsense"] {
            let error = RunRef::from(text.to_owned()).resolve(&client).await.unwrap_err();
            assert_eq!(error.exit(), Exit::NotFound, "{text}");
            assert!(error.advice()[0].contains("at least 4 characters"), "{text}");
        }
    }
}
