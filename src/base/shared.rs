//! An ordered map whose copies share what they have in common. Declared state is copied for every change that
//! is tried, stored and published; with a hundred thousand nodes a change of one must not pay for all of them.
//!
//! Entries lie in sorted chunks, each shared by all copies that have not written to it: a copy costs one
//! counter per chunk, a write copies one chunk, and comparing two copies skips the chunks that they share. The
//! tree has two levels, which carries far beyond the sites that we serve. (`rpds` keeps two allocations for
//! each entry and cannot compare copies; `im` and its heirs are under the MPL.)

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, Index};
use std::sync::Arc;

/// Entries of a full chunk, which is then split: near the square root of what the largest sites hold, so that
/// copying the list of chunks and copying one chunk cost alike.
const CHUNK_ENTRIES_MAX: usize = 256;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// The map.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    /// Sorted, none empty.
    chunks: Vec<Chunk<K, V>>,
    len: usize,
}

/// What it takes to get from one map to another.
#[derive(Debug)]
pub struct Difference<'a, K, V> {
    /// Entries that are new, or whose value is another: with the former value.
    pub put: Vec<(&'a K, Option<&'a V>, &'a V)>,
    /// Entries that are there no more.
    pub gone: Vec<(&'a K, &'a V)>,
}

impl<K, V> SharedMap<K, V> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    #[must_use]
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let (key, value) = chunk.get(place(chunk, key).ok()?)?;
        Some((key, value))
    }

    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).is_some()
    }

    /// Entries from this key on, in order.
    pub fn range_from<'a, Q: Ord + ?Sized>(
        &'a self,
        from: Bound<&Q>,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let before = |key: &K| match from {
            Bound::Included(from) => key.borrow() < from,
            Bound::Excluded(from) => key.borrow() <= from,
            Bound::Unbounded => false,
        };
        let first = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|(key, _)| before(key)));
        let skip = self.chunks.get(first).map_or(0, |chunk| chunk.partition_point(|(key, _)| before(key)));
        let chunks = self.chunks.get(first..).unwrap_or_default();
        chunks.iter().flat_map(|chunk| chunk.iter()).skip(skip).map(|(key, value)| (key, value))
    }

    /// The first chunk whose last key is not below this one: where it is, if it is.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|(last, _)| last.borrow() < key))
    }
}

fn place<K: Borrow<Q>, V, Q: Ord + ?Sized>(chunk: &[(K, V)], key: &Q) -> Result<usize, usize> {
    chunk.binary_search_by(|(known, _)| known.borrow().cmp(key))
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Sets a value and returns the former.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        // Beyond the last key: into the last chunk, so that growing upwards fills chunks.
        let index = self.chunk_of(&key).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(index) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        match place(chunk, &key) {
            Ok(there) => chunk.get_mut(there).map(|entry| std::mem::replace(&mut entry.1, value)),
            Err(free) => {
                chunk.insert(free, (key, value));
                self.len = self.len.saturating_add(1);
                if chunk.len() > CHUNK_ENTRIES_MAX {
                    // What grows upwards leaves a full chunk behind, what grows anywhere two halves.
                    let at_end = free == CHUNK_ENTRIES_MAX;
                    let rest = chunk.split_off(if at_end { free } else { CHUNK_ENTRIES_MAX / 2 });
                    self.chunks.insert(index.saturating_add(1), Arc::new(rest));
                }
                None
            }
        }
    }

    /// Takes an entry out and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let chunk = self.chunks.get_mut(index)?;
        let there = place(chunk, key).ok()?; // before the chunk is copied
        let (_, value) = Arc::make_mut(chunk).remove(there);
        if chunk.is_empty() {
            self.chunks.remove(index);
        }
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    /// Keeps the entries that please. A chunk of which nothing goes stays shared.
    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        for chunk in &mut self.chunks {
            if !chunk.iter().all(|(key, value)| keep(key, value)) {
                Arc::make_mut(chunk).retain(|(key, value)| keep(key, value));
            }
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.len = self.chunks.iter().map(|chunk| chunk.len()).sum();
    }
}

impl<K: Ord, T> SharedMap<K, Arc<T>> {
    /// What it takes to get from `self` to `next`. Values are compared by pointer, and chunks that both share
    /// are skipped: between a map and its changed copy this costs a few chunks.
    #[must_use]
    pub fn difference<'a>(&'a self, next: &'a Self) -> Difference<'a, K, Arc<T>> {
        let mut difference = Difference { put: Vec::new(), gone: Vec::new() };
        let (mut old, mut new) = (Cursor::new(&self.chunks), Cursor::new(&next.chunks));
        loop {
            if let (Some(left), Some(right)) = (old.whole(), new.whole())
                && Arc::ptr_eq(left, right)
            {
                old.next_chunk();
                new.next_chunk();
                continue;
            }
            let order = match (old.entry(), new.entry()) {
                (None, None) => return difference,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((left, _)), Some((right, _))) => left.cmp(right),
            };
            let former = if order == Ordering::Greater { None } else { old.take() };
            let latter = if order == Ordering::Less { None } else { new.take() };
            match (former, latter) {
                (Some((_, former)), Some((key, value))) if !Arc::ptr_eq(former, value) => {
                    difference.put.push((key, Some(former), value));
                }
                (None, Some((key, value))) => difference.put.push((key, None, value)),
                (Some((key, value)), None) => difference.gone.push((key, value)),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
}

/// A walk over entries that can skip whole chunks.
struct Cursor<'a, K, V> {
    chunks: &'a [Chunk<K, V>],
    at: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn new(chunks: &'a [Chunk<K, V>]) -> Cursor<'a, K, V> {
        Cursor { chunks, at: 0 }
    }

    /// The chunk that comes next as a whole.
    fn whole(&self) -> Option<&'a Chunk<K, V>> {
        self.chunks.first().filter(|_| self.at == 0)
    }

    fn next_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        self.at = 0;
    }

    fn entry(&self) -> Option<&'a (K, V)> {
        self.chunks.first()?.get(self.at)
    }

    fn take(&mut self) -> Option<&'a (K, V)> {
        let entry = self.entry()?;
        self.at = self.at.saturating_add(1);
        if self.entry().is_none() {
            self.next_chunk();
        }
        Some(entry)
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> SharedMap<K, V> {
        SharedMap { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SharedMap<K, V> {
    /// Sorts once instead of searching for each; of equal keys the last counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> SharedMap<K, V> {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|(left, _), (right, _)| left.cmp(right));
        entries.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let len = entries.len();
        let mut entries = entries.into_iter();
        let mut chunks = Vec::with_capacity(len.div_ceil(CHUNK_ENTRIES_MAX));
        while entries.len() > 0 {
            chunks.push(Arc::new(entries.by_ref().take(CHUNK_ENTRIES_MAX).collect()));
        }
        SharedMap { chunks, len }
    }
}

impl<K: Ord + Borrow<Q>, Q: Ord + ?Sized, V> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    /// # Panics
    /// There is no such key, as with the standard library's maps.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the caller knows that the key is there")
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
