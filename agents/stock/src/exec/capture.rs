//! What a program reads and writes, within bounds.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::group::Pipes;

/// A line of progress is cut to this many bytes.
const MAX_LINE: usize = 240;

/// Why capturing ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaptureError {
    #[error("more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("cannot read from the program")]
    Io(#[from] io::Error),
}

/// What a program has written so far.
#[derive(Debug)]
pub(super) struct Streams {
    stdout: Vec<u8>,
    max_stdout: usize,
    stderr: VecDeque<u8>,
    max_stderr: usize,
}

impl Streams {
    pub(super) fn new(max_stdout: usize, max_stderr: usize) -> Self {
        Self { stdout: Vec::new(), max_stdout, stderr: VecDeque::new(), max_stderr }
    }

    /// Returns what was written to standard output.
    pub(super) fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// Returns the end of what was written to standard error.
    pub(super) fn stderr(&self) -> String {
        let bytes: Vec<u8> = self.stderr.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Feeds and drains the pipes until all are closed; `progress` gets the lines of standard
    /// error.
    pub(super) async fn pump(
        &mut self,
        pipes: Pipes,
        input: &[u8],
        progress: impl FnMut(&str),
    ) -> Result<(), CaptureError> {
        let (_, (), ()) = tokio::try_join!(
            feed(pipes.stdin, input),
            collect(pipes.stdout, &mut self.stdout, self.max_stdout),
            tail(pipes.stderr, &mut self.stderr, self.max_stderr, progress),
        )?;
        Ok(())
    }
}

/// Writes the input; a program that does not read it to the end is within its rights.
async fn feed(mut pipe: impl AsyncWrite + Unpin, input: &[u8]) -> Result<(), CaptureError> {
    match pipe.write_all(input).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn collect(
    mut pipe: impl AsyncRead + Unpin,
    into: &mut Vec<u8>,
    limit: usize,
) -> Result<(), CaptureError> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = pipe.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if into.len() + read > limit {
            return Err(CaptureError::TooLarge { limit });
        }
        into.extend_from_slice(&buffer[..read]);
    }
}

async fn tail(
    mut pipe: impl AsyncRead + Unpin,
    into: &mut VecDeque<u8>,
    limit: usize,
    mut progress: impl FnMut(&str),
) -> Result<(), CaptureError> {
    let (mut buffer, mut line) = (vec![0; 8 * 1024], Vec::new());
    loop {
        let read = pipe.read(&mut buffer).await?;
        if read == 0 {
            tell(&mut line, &mut progress);
            return Ok(());
        }
        into.extend(&buffer[..read]);
        into.drain(..into.len().saturating_sub(limit));
        for byte in &buffer[..read] {
            match byte {
                b'\n' | b'\r' => tell(&mut line, &mut progress),
                byte if line.len() < MAX_LINE => line.push(*byte),
                _ => {}
            }
        }
    }
}

fn tell(line: &mut Vec<u8>, progress: &mut impl FnMut(&str)) {
    let text = String::from_utf8_lossy(line);
    if !text.trim().is_empty() {
        progress(text.trim());
    }
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn standard_output_is_taken_whole_or_not_at_all() {
        let mut out = Vec::new();
        collect(&b"12345"[..], &mut out, 5).await.unwrap();
        assert_eq!(out, b"12345");
        let error = collect(&b"123456"[..], &mut Vec::new(), 5).await.unwrap_err();
        assert!(matches!(error, CaptureError::TooLarge { limit: 5 }));
    }

    #[tokio::test]
    async fn of_standard_error_the_end_is_kept_and_lines_are_told() {
        let (mut kept, mut lines) = (VecDeque::new(), Vec::new());
        let long = "x".repeat(MAX_LINE + 10);
        let text = format!("one\r\n\n  two \n{long}\nlast");
        tail(text.as_bytes(), &mut kept, 6, |line| lines.push(line.to_owned())).await.unwrap();
        assert_eq!(kept.make_contiguous(), b"x\nlast");
        assert_eq!(lines, ["one", "two", &long[..MAX_LINE], "last"]);
    }

    #[tokio::test]
    async fn a_reader_that_stops_reading_is_no_error() {
        let (ours, theirs) = tokio::io::duplex(4);
        drop(theirs);
        feed(ours, b"more than the pipe takes").await.unwrap();
    }
}
