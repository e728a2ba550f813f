//! The contract of the port, held by the embedded broker.

use std::time::Duration;

use skep_broker::Embedded;
use skep_broker::conformance::{Bounds, Harness, Restart};
use skep_broker::memory::Settings;

struct InProcess(Embedded);

impl Harness for InProcess {
    type Broker = Embedded;

    async fn client(&self) -> Embedded {
        self.0.clone()
    }

    async fn restart(&self) -> Restart {
        self.0.forget_volatile();
        Restart::Done
    }

    fn bounds(&self) -> Bounds {
        let Settings { ack_wait, request_timeout, max_message, .. } = settings();
        Bounds { ack_wait, request_timeout, max_message }
    }
}

fn settings() -> Settings {
    Settings {
        ack_wait: Duration::from_millis(300),
        request_timeout: Duration::from_secs(2),
        max_asked: 100,
        ..Settings::default()
    }
}

fn harness() -> InProcess {
    InProcess(Embedded::with_settings(settings()))
}

mod on_a_clock_that_jumps {
    use super::*;

    skep_broker::conformance_tests!(tokio::test(start_paused = true), harness());
}

mod on_the_real_clock {
    use super::*;

    skep_broker::conformance_tests!(tokio::test(flavor = "multi_thread"), harness());
}
