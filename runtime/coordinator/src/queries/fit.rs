//! Answers that fit into a message, however much a run has to tell.

use bytes::Bytes;
use futures::future::try_join_all;
use skep_broker::{Blobs, PutBlobError};
use skep_protocol::{BlobRef, Failure, Payload, RunDetail};

/// Bytes of values, and of messages, in one answer; half of what a message holds.
const MOST: usize = skep_protocol::limits::MAX_MESSAGE / 2;
/// What is left of the message of a failure where all of them are too much, in bytes.
const CUT_MESSAGE: usize = 512;
/// Values that are kept at the same time.
const AT_ONCE: usize = 16;

/// Puts the largest values into the blob store, as many as are too much for one answer, and cuts
/// the messages of failures if they are.
pub(super) async fn fit<B: Blobs>(broker: &B, detail: &mut RunDetail) -> Result<(), PutBlobError> {
    cut_messages(detail);
    let mut values = values(detail);
    let mut total: usize = values.iter().map(|value| inline(value)).sum();
    if total <= MOST {
        return Ok(());
    }
    values.sort_by_key(|value| std::cmp::Reverse(inline(value)));
    let too_much = values.into_iter().take_while(|value| {
        let is_needed = total > MOST;
        total -= inline(value);
        is_needed
    });
    let mut too_much: Vec<&mut Payload> = too_much.collect();
    for values in too_much.chunks_mut(AT_ONCE) {
        let texts = values.iter().filter_map(|value| value.text());
        let keep = texts.map(|text| keep(broker.clone(), text.to_owned().into()));
        let kept = try_join_all(keep.collect::<Vec<_>>()).await?;
        for (value, blob) in values.iter_mut().zip(kept) {
            **value = Payload::from(blob);
        }
    }
    Ok(())
}

async fn keep<B: Blobs>(broker: B, bytes: Bytes) -> Result<BlobRef, PutBlobError> {
    broker.put_blob(bytes).await
}

fn inline(value: &Payload) -> usize {
    value.text().map_or(0, str::len)
}

fn values(detail: &mut RunDetail) -> Vec<&mut Payload> {
    let mut values = vec![&mut detail.inputs];
    values.extend(&mut detail.outputs);
    let mut failures: Vec<&mut Failure> = detail.error.iter_mut().collect();
    for step in &mut detail.steps {
        values.extend(&mut step.output);
        failures.extend(&mut step.error);
        failures.extend(step.attempts.iter_mut().filter_map(|attempt| attempt.error.as_mut()));
    }
    values.extend(failures.into_iter().filter_map(|failure| failure.details.as_mut()));
    values
}

fn cut_messages(detail: &mut RunDetail) {
    let errors = detail.steps.iter_mut().flat_map(|step| {
        let of_attempts = step.attempts.iter_mut().filter_map(|attempt| attempt.error.as_mut());
        step.error.iter_mut().chain(of_attempts)
    });
    let mut messages: Vec<&mut String> = errors.map(|error| &mut error.message).collect();
    if messages.iter().map(|message| message.len()).sum::<usize>() > MOST {
        for message in &mut messages {
            message.truncate(message.floor_char_boundary(CUT_MESSAGE));
        }
    }
}
