//! The random comparison itself: it is repeatable, and it finds what is different.

use bytes::Bytes;
use skep_broker::differential::compare;
use skep_broker::memory::Settings;
use skep_broker::{Embedded, Journal as _};
use skep_protocol::{PartitionId, Seq};

#[tokio::test]
async fn equal_brokers_answer_equally_and_a_seed_gives_the_same_operations_again() {
    for seed in 0..20 {
        let first = compare(seed, 300, Embedded::new(), Embedded::new()).await;
        let again = compare(seed, 300, Embedded::new(), Embedded::new()).await;
        let first = first.unwrap_or_else(|divergence| panic!("{divergence}"));
        assert_eq!(first, again.unwrap_or_else(|divergence| panic!("{divergence}")));
    }
}

#[tokio::test]
async fn every_operation_is_drawn() {
    let history = compare(1, 2_000, Embedded::new(), Embedded::new()).await;
    let history = history.unwrap_or_else(|divergence| panic!("{divergence}"));
    for name in [
        "Append",
        "Last",
        "Read",
        "Trim",
        "Offer",
        "Pull",
        "Ack",
        "Return",
        "Depth",
        "Clear",
        "Leave",
        "Collect",
        "PutBlob",
        "Blob",
        "Put",
        "Get",
        "Keys",
        "PutSnapshot",
        "Snapshots",
    ] {
        let named =
            |line: &String| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == name);
        assert!(history.iter().any(named), "{name} was never drawn");
    }
    let answered = |part: &str| history.iter().filter(|line| line.contains(part)).count();
    for part in ["the end is", "appended at", "conflict", "is no key", "×2", "None", "true, "] {
        assert!(answered(part) > 0, "no answer has {part:?}");
    }
}

#[tokio::test]
async fn a_difference_is_found() {
    let other = Embedded::new();
    other.append(PartitionId::new(0), Seq::ZERO, Bytes::from_static(b"x")).await.unwrap();
    let found = compare(1, 300, Embedded::new(), other).await.unwrap_err();
    assert!(found.to_string().contains("seed=1"), "{found}");

    let small = Embedded::with_settings(Settings { max_message: 200, ..Settings::default() });
    assert!(compare(2, 300, Embedded::new(), small).await.is_err());
    let forgetful = Settings { dedup_window: std::time::Duration::ZERO, ..Settings::default() };
    let forgetful = Embedded::with_settings(forgetful);
    assert!(compare(3, 300, Embedded::new(), forgetful).await.is_err());
}
