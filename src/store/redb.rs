//! The default backend: one redb file. A commit is one transaction with an fsync; only records that changed
//! are written.

mod audit;
mod boots;
mod errors;

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::redb::backends::FileBackend;
use ::redb::{
    Database, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError, WriteTransaction,
};

use crate::base::shared::Difference;
use crate::base::{Mac, SharedMap, Timestamp};
use crate::model::audit::{Page, Query};
use crate::model::profile::AssignmentKey;
use crate::model::{
    Assignment, BootRecord, DocumentKey, Inventory, Node, NodeId, Revision, Secret, SecretKey,
};
use crate::store::record::Record;
use crate::store::redb::errors::{failure, open_error};
use crate::store::{Backend, Batch, Loaded, Observation, StoreError, io_error};

type Named = TableDefinition<'static, &'static str, &'static [u8]>;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const NODES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("nodes");
const BMCS: Named = TableDefinition::new("bmcs");
const GROUPS: Named = TableDefinition::new("groups");
const PROFILES: Named = TableDefinition::new("profiles");
const ASSIGNMENTS: Named = TableDefinition::new("assignments");
const DOCUMENTS: Named = TableDefinition::new("documents");
const IMAGES: Named = TableDefinition::new("images");
const TAGS: Named = TableDefinition::new("tags");
const SECRETS: Named = TableDefinition::new("secrets");
const IDENTITIES: Named = TableDefinition::new("identities");
const LEASES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("leases");
const SIGHTINGS: Named = TableDefinition::new("sightings");
const SESSIONS: Named = TableDefinition::new("boot_sessions");
const DOSSIERS: Named = TableDefinition::new("dossiers");

/// Beside the revision: the highest sequence of any session.
const SEQUENCE: &str = "session_sequence";

/// The layout of the tables. A file of a higher one was written by a newer muster.
const LAYOUT: u64 = 1;

/// A redb file and what is declared in it.
pub(crate) struct RedbBackend {
    /// None after a failed write: redb refuses everything from then on (`PreviousIo`), so the file is opened
    /// and read again before the next commit. What the failed commit left on disk is known only then.
    database: Option<Database>,
    path: PathBuf,
    revision: Revision,
    inventory: Inventory,
}

impl RedbBackend {
    pub(crate) fn open(path: &Path) -> Result<RedbBackend, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
            made.map_err(|error| io_error("make", folder, &error))?;
        }
        let (revision, inventory) = (Revision::default(), Inventory::default());
        Ok(RedbBackend { database: Some(open(path)?), path: path.to_owned(), revision, inventory })
    }

    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or(StoreError::Closed)
    }

    fn fail(&self, act: &'static str, error: impl Into<::redb::Error>) -> StoreError {
        failure(act, &self.path, error.into())
    }

    /// Refuses the file of a newer muster before anything is written to it.
    fn check_layout(&self) -> Result<(), StoreError> {
        let database = self.database()?;
        let layout = || -> Result<Option<u64>, ::redb::Error> {
            match database.begin_read()?.open_table(META) {
                Ok(meta) => Ok(meta.get("layout")?.map(|value| value.value())),
                Err(TableError::TableDoesNotExist(_)) => Ok(None), // a new file
                Err(error) => Err(error.into()),
            }
        };
        match layout().map_err(|error| self.fail("read", error))?.unwrap_or(LAYOUT) {
            LAYOUT => Ok(()),
            other => {
                let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
                Err(StoreError::Schema { kind: "store", found: small(other), known: small(LAYOUT) })
            }
        }
    }

    /// Makes the tables and reads them. Writing first makes sure that a damaged or read-only file is found
    /// now and not at the first lease.
    fn read(&self) -> Result<Loaded, StoreError> {
        self.check_layout()?;
        let read = |error: ::redb::Error| failure("read", &self.path, error);
        let database = self.database()?;
        let transaction = database.begin_write().map_err(|error| read(error.into()))?;
        make_tables(&transaction).map_err(read)?;
        transaction.commit().map_err(|error| read(error.into()))?;
        let transaction = database.begin_read().map_err(|error| read(error.into()))?;
        let mut loaded = Loaded::default();
        let meta = transaction.open_table(META).map_err(|error| read(error.into()))?;
        let number = |key| {
            Ok(meta.get(key).map_err(|error: StorageError| read(error.into()))?.map(|value| value.value()))
        };
        loaded.revision = Revision(number("revision")?.unwrap_or(0));
        loaded.inventory.next_node = number("next_node")?.unwrap_or(0);
        let nodes = transaction.open_table(NODES).map_err(|error| read(error.into()))?;
        for row in nodes.iter().map_err(|error| read(error.into()))? {
            let node = Node::parse(row.map_err(|error| read(error.into()))?.1.value())?;
            loaded.inventory.nodes.insert(node.id, Arc::new(node));
        }
        let leases = transaction.open_table(LEASES).map_err(|error| read(error.into()))?;
        for row in leases.iter().map_err(|error| read(error.into()))? {
            loaded.leases.push(Record::parse(row.map_err(|error| read(error.into()))?.1.value())?);
        }
        let named = |table| rows(&transaction, table, &self.path);
        loaded.inventory.bmcs = named_map(named(BMCS)?, |bmc: &crate::model::Bmc| bmc.name.clone())?;
        loaded.inventory.groups =
            named_map(named(GROUPS)?, |group: &crate::model::Group| group.name.clone())?;
        loaded.inventory.profiles = named_map(named(PROFILES)?, |p: &crate::model::Profile| p.name.clone())?;
        loaded.inventory.assignments = named_map(named(ASSIGNMENTS)?, Assignment::key)?;
        loaded.inventory.documents =
            named_map(named(DOCUMENTS)?, |document: &crate::model::Document| document.key.clone())?;
        loaded.inventory.images = named_map(named(IMAGES)?, crate::model::Image::key)?;
        loaded.inventory.tags = named_map(named(TAGS)?, |tag: &crate::model::Tag| tag.key.clone())?;
        loaded.inventory.secrets = named_map(named(SECRETS)?, |secret: &Secret| secret.key.clone())?;
        loaded.sightings =
            named(SIGHTINGS)?.iter().map(|row| Record::parse(row)).collect::<Result<_, _>>()?;
        loaded.sessions = named(SESSIONS)?.iter().map(|row| Record::parse(row)).collect::<Result<_, _>>()?;
        loaded.session_sequence = number(SEQUENCE)?.unwrap_or(0);
        for row in named(IDENTITIES)? {
            loaded.inventory.put_identity(Arc::new(Record::parse(&row)?));
        }
        loaded.dossiers = named(DOSSIERS)?.iter().map(|row| Record::parse(row)).collect::<Result<_, _>>()?;
        (loaded.tip, loaded.checkpoints) = audit::load(&transaction, &self.path)?;
        loaded.boots = boots::load(&transaction, &self.path)?;
        Ok(loaded)
    }

    fn write(
        &self,
        database: &Database,
        batch: &Batch,
        next: &Inventory,
        revision: Revision,
    ) -> Result<(), ::redb::Error> {
        let transaction = database.begin_write()?;
        if !batch.sets.is_empty() {
            write_nodes(&transaction, &self.inventory.nodes, &next.nodes)?;
            write_named(&transaction, BMCS, &self.inventory.bmcs, &next.bmcs, ToString::to_string)?;
            write_named(&transaction, GROUPS, &self.inventory.groups, &next.groups, ToString::to_string)?;
            write_named(
                &transaction,
                PROFILES,
                &self.inventory.profiles,
                &next.profiles,
                ToString::to_string,
            )?;
            write_named(&transaction, ASSIGNMENTS, &self.inventory.assignments, &next.assignments, row_key)?;
            write_named(&transaction, DOCUMENTS, &self.inventory.documents, &next.documents, shelf_key)?;
            write_named(&transaction, IMAGES, &self.inventory.images, &next.images, ToString::to_string)?;
            write_named(&transaction, TAGS, &self.inventory.tags, &next.tags, ToString::to_string)?;
            write_named(&transaction, SECRETS, &self.inventory.secrets, &next.secrets, SecretKey::row)?;
            let (old, new) = (&self.inventory.identities, &next.identities);
            write_named(&transaction, IDENTITIES, old, new, |node| node.0.to_string())?;
            let mut meta = transaction.open_table(META)?;
            meta.insert("revision", revision.0)?;
            meta.insert("next_node", next.next_node)?;
        }
        write_observations(&transaction, &batch.observations)?;
        audit::write(&transaction, &batch.observations)?;
        boots::write(&transaction, &batch.observations)?;
        transaction.commit()?;
        Ok(())
    }
}

impl Backend for RedbBackend {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        if self.database.is_none() {
            self.database = Some(open(&self.path)?);
        }
        let loaded = self.read().inspect_err(|_| self.database = None)?;
        (self.revision, self.inventory) = (loaded.revision, loaded.inventory.clone());
        Ok(loaded)
    }

    fn commit(&mut self, batch: &Batch) -> Result<Revision, StoreError> {
        if self.database.is_none() {
            self.load()?;
        }
        let mut revision = self.revision;
        // Leases alone leave the inventory as it is: no copy on the way of an ACK.
        let mut next = if batch.sets.is_empty() { Inventory::default() } else { self.inventory.clone() };
        for set in &batch.sets {
            if set.base != revision {
                return Err(StoreError::Conflict { planned: set.base.0, current: revision.0 });
            }
            set.changes.iter().for_each(|change| next.apply(change));
            revision = revision.next();
        }
        if let Err(error) = self.write(self.database()?, batch, &next, revision) {
            self.database = None;
            return Err(self.fail("write", error));
        }
        if !batch.sets.is_empty() {
            (self.revision, self.inventory) = (revision, next);
        }
        Ok(revision)
    }

    fn audit(&mut self, query: &Query) -> Result<Page, StoreError> {
        audit::find(self.database()?, query, &self.path)
    }

    fn boots(&mut self, mac: Mac) -> Result<Vec<BootRecord>, StoreError> {
        boots::of(self.database()?, mac, &self.path)
    }

    fn packets(&mut self, of: (Mac, Timestamp)) -> Result<Option<Vec<u8>>, StoreError> {
        boots::packets(self.database()?, of, &self.path)
    }

    fn foreign(&mut self, _wait: Duration) -> Result<Vec<Batch>, StoreError> {
        Ok(Vec::new()) // one process holds the file
    }
}

/// Opens or makes the file. A new one survives power loss: its folder is synced too.
fn open(path: &Path) -> Result<Database, StoreError> {
    let new = !path.exists();
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|error| io_error("open", path, &error))?;
    let database = FileBackend::new(file)
        .and_then(|backend| Database::builder().create_with_backend(backend))
        .map_err(|error| open_error(path, error))?;
    if let Some(folder) = path.parent().filter(|folder| new && !folder.as_os_str().is_empty()) {
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| io_error("sync", folder, &error))?;
    }
    Ok(database)
}

fn make_tables(transaction: &WriteTransaction) -> Result<(), ::redb::Error> {
    let declared = [BMCS, GROUPS, PROFILES, ASSIGNMENTS, DOCUMENTS, IMAGES, TAGS, SECRETS, IDENTITIES];
    for table in declared.into_iter().chain([SIGHTINGS, SESSIONS, DOSSIERS]) {
        transaction.open_table(table)?;
    }
    transaction.open_table(NODES)?;
    transaction.open_table(LEASES)?;
    audit::make_tables(transaction)?;
    boots::make_tables(transaction)?;
    let mut meta = transaction.open_table(META)?;
    if meta.get("layout")?.is_none() {
        meta.insert("layout", LAYOUT)?;
    }
    Ok(())
}

fn rows(
    transaction: &::redb::ReadTransaction,
    table: Named,
    path: &Path,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let read = |error: ::redb::Error| failure("read", path, error);
    let table = transaction.open_table(table).map_err(|error| read(error.into()))?;
    let rows = table.iter().map_err(|error| read(error.into()))?;
    rows.map(|row| Ok(row.map_err(|error| read(error.into()))?.1.value().to_vec())).collect()
}

fn named_map<K: Ord, V: Record>(
    rows: Vec<Vec<u8>>,
    key: impl Fn(&V) -> K,
) -> Result<SharedMap<K, Arc<V>>, StoreError> {
    rows.iter().map(|row| V::parse(row).map(|value| (key(&value), Arc::new(value)))).collect()
}

fn write_nodes(
    transaction: &WriteTransaction,
    old: &SharedMap<NodeId, Arc<Node>>,
    new: &SharedMap<NodeId, Arc<Node>>,
) -> Result<(), ::redb::Error> {
    let Difference { put, gone } = old.difference(new);
    let mut table = transaction.open_table(NODES)?;
    for (id, _, node) in put {
        table.insert(id.0, node.emit().as_slice())?;
    }
    for (id, _) in gone {
        table.remove(id.0)?;
    }
    Ok(())
}

fn write_named<K: Ord, V: Record>(
    transaction: &WriteTransaction,
    table: Named,
    old: &SharedMap<K, Arc<V>>,
    new: &SharedMap<K, Arc<V>>,
    key: impl Fn(&K) -> String,
) -> Result<(), ::redb::Error> {
    let Difference { put, gone } = old.difference(new);
    if put.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(table)?;
    for (name, _, value) in put {
        table.insert(key(name).as_str(), value.emit().as_slice())?;
    }
    for (name, _) in gone {
        table.remove(key(name).as_str())?;
    }
    Ok(())
}

fn row_key(key: &AssignmentKey) -> String {
    format!("{} {}", key.selector, if key.lasting { "lasting" } else { "once" })
}

/// Shelves have no slash in their names, so a key means one document.
fn shelf_key(key: &DocumentKey) -> String {
    format!("{}/{}", key.shelf, key.id)
}

fn write_observations(
    transaction: &WriteTransaction,
    observations: &[Observation],
) -> Result<(), ::redb::Error> {
    if observations.iter().all(|one| audit::is_ours(one) || boots::is_ours(one)) {
        return Ok(());
    }
    let mut leases = transaction.open_table(LEASES)?;
    let mut sightings = transaction.open_table(SIGHTINGS)?;
    let mut sessions = transaction.open_table(SESSIONS)?;
    let mut dossiers = transaction.open_table(DOSSIERS)?;
    let mut meta = transaction.open_table(META)?;
    for observation in observations {
        match observation {
            Observation::PutLease(lease) => {
                leases.insert(u32::from(lease.address), lease.emit().as_slice())?;
            }
            Observation::RemoveLease(address) => {
                leases.remove(u32::from(*address))?;
            }
            Observation::PutSighting(seen) => {
                sightings.insert(seen.mac.to_string().as_str(), seen.emit().as_slice())?;
            }
            Observation::RemoveSighting(mac) => {
                sightings.remove(mac.to_string().as_str())?;
            }
            Observation::PutSession(session) => {
                sessions.insert(session.id.to_string().as_str(), session.emit().as_slice())?;
                let highest = meta.get(SEQUENCE)?.map_or(0, |value| value.value());
                meta.insert(SEQUENCE, highest.max(session.sequence))?;
            }
            Observation::RemoveSession(id) => {
                sessions.remove(id.to_string().as_str())?;
            }
            Observation::PutDossier(dossier) => {
                dossiers.insert(dossier.node.0.to_string().as_str(), dossier.emit().as_slice())?;
            }
            Observation::RemoveDossier(node) => {
                dossiers.remove(node.0.to_string().as_str())?;
            }
            Observation::Note(_)
            | Observation::PutLine(_)
            | Observation::PutCheckpoint(_)
            | Observation::DropLines(_)
            | Observation::PutBoot(_)
            | Observation::RemoveBoot(..)
            | Observation::PutPackets(..)
            | Observation::RemovePackets(..) => {}
        }
    }
    Ok(())
}
