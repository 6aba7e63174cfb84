//! The tables of the audit log: lines by number, checkpoints by the number of the line they sign. Lines are read
//! from the disk when somebody asks; only where the log ends is kept in memory.

use std::path::Path;

use ::redb::{
    AccessGuard, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, WriteTransaction,
};

use crate::model::audit::{Checkpoint, Line, Page, Query, Tip};
use crate::store::audit::page;
use crate::store::record::Record as _;
use crate::store::redb::errors::failure;
use crate::store::{Observation, StoreError};

type Numbered = TableDefinition<'static, u64, &'static [u8]>;
type Row<'a> = Result<(AccessGuard<'a, u64>, AccessGuard<'a, &'static [u8]>), StorageError>;

const LINES: Numbered = TableDefinition::new("audit");
const CHECKPOINTS: Numbered = TableDefinition::new("audit_checkpoints");

/// True for what stands in these tables.
pub(crate) fn is_ours(observation: &Observation) -> bool {
    matches!(
        observation,
        Observation::Note(_)
            | Observation::PutLine(_)
            | Observation::PutCheckpoint(_)
            | Observation::DropLines(_)
    )
}

pub(crate) fn make_tables(transaction: &WriteTransaction) -> Result<(), ::redb::Error> {
    transaction.open_table(LINES)?;
    transaction.open_table(CHECKPOINTS)?;
    Ok(())
}

/// Where the log ends, and its checkpoints. A log whose lines have all gone ends with its last checkpoint.
pub(crate) fn load(transaction: &ReadTransaction, path: &Path) -> Result<(Tip, Vec<Checkpoint>), StoreError> {
    let read = |error: ::redb::Error| failure("read", path, error);
    let table = transaction.open_table(CHECKPOINTS).map_err(|error| read(error.into()))?;
    let mut checkpoints = Vec::new();
    for row in table.iter().map_err(|error| read(error.into()))? {
        checkpoints.push(Checkpoint::parse(row.map_err(|error| read(error.into()))?.1.value())?);
    }
    let table = transaction.open_table(LINES).map_err(|error| read(error.into()))?;
    let last = table.last().map_err(|error| read(error.into()))?;
    let last = last.map(|(_, row)| Line::parse(row.value())).transpose()?;
    let signed = checkpoints.last().map(Checkpoint::tip);
    Ok((last.map(|line| line.tip()).or(signed).unwrap_or_default(), checkpoints))
}

pub(crate) fn write(
    transaction: &WriteTransaction,
    observations: &[Observation],
) -> Result<(), ::redb::Error> {
    if !observations.iter().any(is_ours) {
        return Ok(());
    }
    let mut lines = transaction.open_table(LINES)?;
    let mut checkpoints = transaction.open_table(CHECKPOINTS)?;
    for observation in observations {
        match observation {
            Observation::PutLine(line) => {
                lines.insert(line.seq, line.emit().as_slice())?;
            }
            Observation::PutCheckpoint(checkpoint) => {
                checkpoints.insert(checkpoint.seq, checkpoint.emit().as_slice())?;
            }
            Observation::DropLines(through) => {
                lines.retain_in(..=*through, |_, _| false)?;
                checkpoints.retain_in(..*through, |_, _| false)?;
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn find(database: &Database, query: &Query, path: &Path) -> Result<Page, StoreError> {
    let read = |error: ::redb::Error| failure("read", path, error);
    let transaction = database.begin_read().map_err(|error| read(error.into()))?;
    let table = transaction.open_table(LINES).map_err(|error| read(error.into()))?;
    page(query, |range, rising| {
        let rows = match table.range(range) {
            Ok(rows) => rows,
            Err(error) => return Box::new(std::iter::once(Err(read(error.into())))),
        };
        let line = |row: Row<'_>| {
            let (seq, row) = row.map_err(|error| read(error.into()))?;
            Line::parse(row.value()).map_err(|error| match error {
                StoreError::Corrupt(why) => StoreError::Corrupt(format!("line {}: {why}", seq.value())),
                other => other,
            })
        };
        if rising { Box::new(rows.map(line)) } else { Box::new(rows.rev().map(line)) }
    })
}
