//! Registered definitions: kept, published, found again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use skep_broker::{Bucket, PutError, Registry, Revision, Unavailable, host};
use skep_protocol::limits::{MAX_DEFINITION_BYTES, MAX_INLINE_PAYLOAD, MAX_RUN_DEPTH};
use skep_protocol::{CommandReply, Hash, Payload, RegisterWorkflow, Rejection, decode, encode};
use skep_workflow::{Diagnostic, Style, Workflow};

/// Checked definitions that are kept in memory, so that a start need not read them again.
const CACHED: usize = 256;
/// Versions of one name that are remembered.
const MAX_VERSIONS: usize = 500;
/// How often a name that others change at the same time is tried.
const MAX_RACES: usize = 50;

/// Bytes of the name of a file or a workflow that are repeated: answers are short.
const MAX_REPEATED: usize = 256;

/// A definition of more bytes is checked away from the threads that serve requests.
const LARGE: usize = 16 * 1024;

/// Why a definition cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    /// The request is refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The broker cannot be reached.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// One version of a name; the last in the list is what the bare name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    digest: Hash,
}

/// The definitions of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Catalog<B> {
    registry: B,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Debug, Default)]
struct Cache {
    workflows: BTreeMap<Hash, Workflow>,
    order: VecDeque<Hash>,
}

/// Returns the definition of a digest, for those who only look at runs; `None` if there is none
/// that this version can read.
///
/// # Errors
/// [`Unavailable`] if the broker cannot be reached.
///
/// # Cancel safety
/// Safe.
pub async fn definition<R: Registry>(
    registry: R,
    digest: Hash,
) -> Result<Option<Workflow>, Unavailable> {
    match Catalog::new(registry).workflow(digest, &digest.to_string()).await {
        Ok(workflow) => Ok(Some(workflow)),
        Err(CatalogError::Rejected(_)) => Ok(None),
        Err(CatalogError::Unavailable(error)) => Err(error),
    }
}

impl<B: Registry> Catalog<B> {
    pub(crate) fn new(registry: B) -> Self {
        Self { registry, cache: Arc::default() }
    }

    /// Checks a definition, keeps it, and publishes it under its name if that is wanted.
    pub(crate) async fn register(
        &self,
        request: RegisterWorkflow,
    ) -> Result<CommandReply, Unavailable> {
        let publish = request.publish;
        let file = cut(&request.file);
        let workflow = match check(request.source.into_bytes(), file).await {
            Ok(workflow) => workflow,
            Err(rejection) => return Ok(CommandReply::Rejected(rejection)),
        };
        let digest = Hash::from_bytes(*workflow.digest().as_bytes());
        self.keep(digest, workflow.source()).await?;
        if publish && let Err(error) = self.publish(&workflow, digest).await {
            return match error {
                CatalogError::Rejected(rejection) => Ok(CommandReply::Rejected(rejection)),
                CatalogError::Unavailable(error) => Err(error),
            };
        }
        let reply = CommandReply::Registered {
            name: workflow.name().to_string(),
            version: workflow.version().map(str::to_owned),
            digest,
            warnings: workflow.warnings().iter().map(payload_of).collect(),
        };
        self.remember(digest, workflow);
        Ok(reply)
    }

    async fn keep(&self, digest: Hash, source: &str) -> Result<(), Unavailable> {
        let key = format!("digest.{digest}");
        let value = if source.len() > MAX_INLINE_PAYLOAD {
            zstd::encode_all(source.as_bytes(), 3)
                .map_or_else(|_| source.to_owned().into(), Bytes::from)
        } else {
            Bytes::copy_from_slice(source.as_bytes())
        };
        match self.registry.put(Bucket::Workflows, &key, value, Revision::ABSENT).await {
            // The key is the content: whoever wrote it wrote the same.
            Ok(_) | Err(PutError::Conflict { .. }) => Ok(()),
            Err(PutError::Unavailable(error)) => Err(error),
            Err(error) => {
                Err(Unavailable { attempted: "keep a definition", reason: error.to_string() })
            }
        }
    }

    async fn publish(&self, workflow: &Workflow, digest: Hash) -> Result<(), CatalogError> {
        let key = format!("name.{}", workflow.name());
        for _ in 0..MAX_RACES {
            let (mut versions, revision) = self.versions(workflow.name().as_str()).await?;
            let version = workflow.version().map(str::to_owned);
            let entry = Version { version, digest };
            if versions.last() == Some(&entry) {
                return Ok(());
            }
            let taken = entry.version.is_some()
                && versions.iter().any(|old| old.version == entry.version && *old != entry);
            if taken {
                return Err(version_taken(workflow).into());
            }
            versions.retain(|old| *old != entry);
            versions.push(entry);
            let excess = versions.len().saturating_sub(MAX_VERSIONS);
            versions.drain(..excess);
            match self.registry.put(Bucket::Workflows, &key, encode(&versions), revision).await {
                Ok(_) => return Ok(()),
                Err(PutError::Conflict { .. }) => {}
                Err(PutError::Unavailable(error)) => return Err(error.into()),
                Err(error) => return Err(cannot("publish a definition", error.to_string())),
            }
        }
        Err(cannot("publish a definition", "others change the name all the time".to_owned()))
    }

    async fn versions(&self, name: &str) -> Result<(Vec<Version>, Revision), CatalogError> {
        let entry = self.registry.get(Bucket::Workflows, &format!("name.{name}")).await?;
        let Some(entry) = entry else { return Ok((Vec::new(), Revision::ABSENT)) };
        let versions = decode(&entry.value)
            .map_err(|error| cannot("read the versions of a name", error.to_string()))?;
        Ok((versions, entry.revision))
    }

    /// Returns what `NAME`, `NAME@VERSION` or a digest means.
    pub(crate) async fn find(&self, wanted: &str) -> Result<(Hash, Workflow), CatalogError> {
        let digest = match wanted.parse::<Hash>() {
            Ok(digest) => digest,
            Err(_) => Box::pin(self.find_name(wanted)).await?,
        };
        let workflow = self.workflow(digest, wanted).await?;
        Ok((digest, workflow))
    }

    async fn find_name(&self, wanted: &str) -> Result<Hash, CatalogError> {
        let unknown = || Rejection::UnknownWorkflow { workflow: cut(wanted) };
        let (name, version) = match wanted.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (wanted, None),
        };
        let known = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        let is_name = name.split('.').all(|part| !part.is_empty() && part.bytes().all(known));
        if !is_name || name.len() > skep_protocol::limits::MAX_NAME_LEN {
            return Err(unknown().into());
        }
        let (versions, _) = self.versions(name).await?;
        let found = match version {
            Some(version) => {
                versions.iter().rev().find(|one| one.version.as_deref() == Some(version))
            }
            None => versions.last(),
        };
        Ok(found.ok_or_else(unknown)?.digest)
    }

    async fn workflow(&self, digest: Hash, wanted: &str) -> Result<Workflow, CatalogError> {
        match self.cached(digest) {
            Some(workflow) => Ok(workflow),
            // Starts are looked at all the time, and seldom need this: what waits is apart.
            None => Box::pin(self.fetch(digest, wanted)).await,
        }
    }

    async fn fetch(&self, digest: Hash, wanted: &str) -> Result<Workflow, CatalogError> {
        let entry = self.registry.get(Bucket::Workflows, &format!("digest.{digest}")).await?;
        let unknown = || Rejection::UnknownWorkflow { workflow: cut(wanted) };
        let source = unpack(entry.ok_or_else(unknown)?.value)
            .map_err(|error| cannot("read a definition", error.to_string()))?;
        let workflow = check(source, wanted.to_owned()).await?;
        self.remember(digest, workflow.clone());
        Ok(workflow)
    }

    /// Returns the definition of a digest if it is in memory and uses no sub-workflows.
    pub(crate) fn at_hand(&self, wanted: &str) -> Option<(Hash, Workflow)> {
        let digest = wanted.parse().ok()?;
        let workflow = self.cached(digest)?;
        workflow.referenced_workflows().is_empty().then_some((digest, workflow))
    }

    /// Returns the sub-workflows of a definition, pinned. Those that they use in turn are looked at
    /// as well, so that a run is refused before it exists and not in its middle.
    pub(crate) async fn pin(
        &self,
        workflow: &Workflow,
    ) -> Result<BTreeMap<String, Hash>, CatalogError> {
        if workflow.referenced_workflows().is_empty() {
            return Ok(BTreeMap::new());
        }
        Box::pin(self.pin_all(workflow)).await
    }

    async fn pin_all(&self, workflow: &Workflow) -> Result<BTreeMap<String, Hash>, CatalogError> {
        let mut pinned = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut ahead: VecDeque<(Workflow, u32)> = VecDeque::from([(workflow.clone(), 0)]);
        while let Some((user, depth)) = ahead.pop_front() {
            for (name, version) in user.referenced_workflows() {
                let written = match version {
                    Some(version) => format!("{name}@{version}"),
                    None => name.to_string(),
                };
                let (digest, used) = self.find(&written).await?;
                if depth == 0 {
                    pinned.insert(written, digest);
                }
                if depth < MAX_RUN_DEPTH && seen.insert(digest) {
                    ahead.push_back((used, depth + 1));
                }
            }
        }
        Ok(pinned)
    }

    /// Returns every published version: name, version, digest.
    pub(crate) async fn list(&self) -> Result<Vec<(String, Option<String>, Hash)>, CatalogError> {
        let mut all = Vec::new();
        for key in self.registry.keys(Bucket::Workflows, "name.").await? {
            let name = key.trim_start_matches("name.");
            let (versions, _) = self.versions(name).await?;
            all.extend(versions.into_iter().map(|v| (name.to_owned(), v.version, v.digest)));
        }
        Ok(all)
    }

    fn cached(&self, digest: Hash) -> Option<Workflow> {
        self.cache.lock().expect("no holder panics").workflows.get(&digest).cloned()
    }

    fn remember(&self, digest: Hash, workflow: Workflow) {
        let mut cache = self.cache.lock().expect("no holder panics");
        if cache.workflows.insert(digest, workflow).is_none() {
            cache.order.push_back(digest);
        }
        if cache.order.len() > CACHED
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.workflows.remove(&oldest);
        }
    }
}

async fn check(source: Vec<u8>, file: String) -> Result<Workflow, Rejection> {
    let is_large = source.len() > LARGE;
    let read = move || {
        skep_workflow::read(&source, &file)
            .map_err(|rejected| invalid(rejected.diagnostics(), rejected.source_text()))
    };
    if is_large {
        return host::apart(read).await.unwrap_or_else(|| {
            Err(Rejection::LimitExceeded { message: "the check did not end".to_owned() })
        });
    }
    read()
}

fn invalid(diagnostics: &[Diagnostic], source: &str) -> Rejection {
    let rendered: Vec<String> =
        diagnostics.iter().map(|one| one.render(source, Style::Plain)).collect();
    Rejection::InvalidDefinition {
        diagnostics: diagnostics.iter().map(payload_of).collect(),
        rendered: rendered.join("\n"),
    }
}

fn payload_of(diagnostic: &Diagnostic) -> Payload {
    Payload::encode(diagnostic).unwrap_or_else(|_| Payload::null())
}

fn version_taken(workflow: &Workflow) -> Rejection {
    let message = format!(
        "version {} of {} is published with another definition; give this one a new version",
        workflow.version().unwrap_or_default(),
        workflow.name()
    );
    let diagnostic = serde_json::json!({ "severity": "error", "message": message });
    Rejection::InvalidDefinition { diagnostics: vec![diagnostic.into()], rendered: message }
}

/// Cuts a text that was sent down to what is repeated of it.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_REPEATED)].to_owned()
}

fn cannot(attempted: &'static str, reason: String) -> CatalogError {
    Unavailable { attempted, reason }.into()
}

fn unpack(value: Bytes) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    if !value.starts_with(&ZSTD_MAGIC) {
        return Ok(value.to_vec());
    }
    let mut source = Vec::new();
    let limit = MAX_DEFINITION_BYTES as u64 + 1;
    zstd::Decoder::new(&value[..])?.take(limit).read_to_end(&mut source)?;
    Ok(source)
}
