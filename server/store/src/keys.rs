//! Numbers that stand for texts: hashes of values, targets of references, types.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use quick_cache::Weighter;
use sha2::{Digest, Sha256};
use smart::token;

use crate::audit::seal::Sealer;
use crate::body::Block;
use crate::error::StoreError;
use crate::memory;
use crate::remembered::Remembered;
use crate::resources::Stored;
use crate::row::Row;

/// How many (type, id) → target pairs are remembered; they never change, so the cache is never wrong.
const REMEMBERED: u64 = 200_000;

/// How many patients' logical ids are remembered by their numbers.
const REMEMBERED_NAMES: u64 = 10_000;

/// How many rows of access tokens are remembered.
const REMEMBERED_TOKENS: u64 = 10_000;

/// How many bytes of resources are remembered.
const REMEMBERED_BYTES: u64 = 64 << 20;

/// Fewest and most bytes of texts that are remembered: in between, one byte of sixteen that this process may use.
const REMEMBERED_TEXTS: RangeInclusive<u64> = 64 << 20..=4 << 30;

/// Typical size of a text in bytes: says for about how many texts the cache makes room.
const ORDINARY_TEXT: u64 = 1_024;

/// Stands in a column `patient` for no patient: under it are the rows of data that is nobody's.
pub(crate) const NOBODY: i64 = 0;

/// First 63 bits of SHA-256, as the schema's hash columns hold it.
pub(crate) fn hash(text: &str) -> i64 {
    let digest = Sha256::digest(text.as_bytes());
    let bytes: [u8; 8] = digest[..8].try_into().expect("a digest has 32 bytes");
    i64::from_be_bytes(bytes) & i64::MAX
}

/// Key of a token in the dictionary.
pub(crate) fn token(system: &str, code: &str) -> i64 {
    hash(&format!("{system}\u{1f}{code}"))
}

/// Key of a URL in the reference index; negative, so that it is never a row id.
pub(crate) fn url(text: &str) -> i64 {
    -hash(text).max(1)
}

/// Numbers of the resource types.
#[derive(Debug)]
pub(crate) struct TypeIds {
    by_name: HashMap<&'static str, i64>,
    names: Vec<&'static str>,
}

impl TypeIds {
    pub(crate) fn new() -> Self {
        let names: Vec<&'static str> = fhir::definitions::resource_types().iter().map(String::as_str).collect();
        let by_name = names.iter().enumerate().map(|(index, name)| (*name, index as i64 + 1)).collect();
        TypeIds { by_name, names }
    }

    /// Number of a type; 0, which no row has, for what is none.
    pub(crate) fn id(&self, name: &str) -> i64 {
        self.by_name.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn name(&self, id: i64) -> Result<&'static str, StoreError> {
        let index = usize::try_from(id - 1).ok();
        index
            .and_then(|index| self.names.get(index))
            .copied()
            .ok_or_else(|| StoreError::Schema(format!("unknown type {id}")))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &'static str)> {
        self.names.iter().enumerate().map(|(index, name)| (index as i64 + 1, *name))
    }
}

/// Codes of searches whose tokens are remembered.
const REMEMBERED_CODES: usize = 10_000;

/// Links of searches that are remembered to have very many resources at their other end …
const REMEMBERED_CROWDS: u64 = 1_000;
/// … and for how long: then they are counted again.
const CROWDED_FOR: Duration = Duration::from_secs(10);

/// A resource's natural key: number of its type and logical id.
pub(crate) type ResourceKey = (i64, String);

/// What is known without asking the database, shared by all connections; holds committed rows only.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// FHIR base of this server: references below it are local.
    pub(crate) base: Arc<str>,
    /// How long a search may take.
    pub(crate) search_limit: Duration,
    pub(crate) types: Arc<TypeIds>,
    /// Numbers of the resources that are referred to.
    pub(crate) targets: Cache<ResourceKey, i64>,
    /// Logical ids of patients by their numbers.
    pub(crate) names: Cache<i64, Arc<str>>,
    /// Tokens that are in the dictionary.
    pub(crate) tokens: Cache<i64, ()>,
    /// The first tokens of a code in any system, by the hash of the code.
    pub(crate) codes: Remembered<i64, Arc<[i64]>>,
    /// Links of searches that were seen lately to have very many resources at their other end.
    pub(crate) crowds: Cache<String, ()>,
    /// Rows of access tokens.
    pub(crate) access: Remembered<token::Hash, Arc<Row>>,
    /// Resources by type, id and patient in whose compartment they were looked for; none: anybody's.
    pub(crate) resources: Remembered<(i64, String, Option<i64>), Stored>,
    /// Texts by their numbers. A text is never changed and its number never given again by the same database, so none
    /// is ever too old.
    pub(crate) texts: Arc<Texts>,
    /// Numbers for texts, on PostgreSQL.
    pub(crate) bodies: Arc<Block>,
    /// Seals the events of the audit trail that are in the database itself.
    pub(crate) sealer: Sealer,
}

impl Known {
    pub(crate) fn new(base: &str, search_limit: Duration, sealer: Sealer) -> Self {
        Known {
            base: base.into(),
            search_limit,
            types: Arc::new(TypeIds::new()),
            targets: Cache::new(REMEMBERED),
            names: Cache::new(REMEMBERED_NAMES),
            tokens: Cache::new(REMEMBERED),
            codes: Remembered::new(REMEMBERED_CODES, REMEMBERED_CODES as u64, |_| 1),
            crowds: Cache::builder().max_capacity(REMEMBERED_CROWDS).time_to_live(CROWDED_FOR).build(),
            access: Remembered::new(REMEMBERED_TOKENS as usize, REMEMBERED_TOKENS, |_| 1),
            resources: Remembered::new((REMEMBERED_BYTES / ORDINARY_TEXT) as usize, REMEMBERED_BYTES, |stored| {
                stored.body.len() as u64 + 256
            }),
            texts: Arc::new(texts()),
            bodies: Arc::new(Block::empty()),
            sealer,
        }
    }

    /// Forgets what numbers stand for: the database may be another one now, a copy that took the place of one that was
    /// lost, and give the last numbers again.
    pub(crate) fn forget_numbers(&self) {
        self.targets.invalidate_all();
        self.names.invalidate_all();
        self.tokens.invalidate_all();
        self.texts.clear();
        self.bodies.clear();
    }
}

/// Texts by their numbers.
pub(crate) type Texts = quick_cache::sync::Cache<i64, Arc<str>, BytesOfText>;

/// How much room a text takes.
#[derive(Clone, Debug)]
pub(crate) struct BytesOfText;

impl Weighter<i64, Arc<str>> for BytesOfText {
    fn weight(&self, _: &i64, text: &Arc<str>) -> u64 {
        text.len() as u64 + 128
    }
}

fn texts() -> Texts {
    let room = (memory::available() / 16).clamp(*REMEMBERED_TEXTS.start(), *REMEMBERED_TEXTS.end());
    let count = usize::try_from(room / ORDINARY_TEXT).unwrap_or(usize::MAX);
    Texts::with_weighter(count, room, BytesOfText)
}
