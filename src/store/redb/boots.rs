//! The tables of boot records: attempts by interface and by when they began, and the packets of failed ones under
//! the same key. While the daemon runs only the latest of each interface is in memory.

use std::path::Path;

use ::redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};

use crate::base::{Mac, Timestamp};
use crate::model::BootRecord;
use crate::store::record::Record as _;
use crate::store::redb::errors::failure;
use crate::store::{Boots, Observation, StoreError};

type Keyed = TableDefinition<'static, (u64, u64), &'static [u8]>;

const RECORDS: Keyed = TableDefinition::new("boot_records");
const PACKETS: Keyed = TableDefinition::new("boot_packets");

/// True for what stands in these tables.
pub(crate) fn is_ours(observation: &Observation) -> bool {
    matches!(
        observation,
        Observation::PutBoot(_)
            | Observation::RemoveBoot(..)
            | Observation::PutPackets(..)
            | Observation::RemovePackets(..)
    )
}

fn number(mac: Mac) -> u64 {
    mac.0.iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

fn mac(number: u64) -> Mac {
    let [_, _, octets @ ..] = number.to_be_bytes();
    Mac(octets)
}

fn key(mac: Mac, started: Timestamp) -> (u64, u64) {
    (number(mac), started.0)
}

pub(crate) fn make_tables(transaction: &WriteTransaction) -> Result<(), ::redb::Error> {
    transaction.open_table(RECORDS)?;
    transaction.open_table(PACKETS)?;
    Ok(())
}

/// The latest record of each interface with when those before it began, and which attempts have packets. Of the
/// others only keys are read.
pub(crate) fn load(transaction: &ReadTransaction, path: &Path) -> Result<Boots, StoreError> {
    let read = |error: ::redb::Error| failure("read", path, error);
    let table = transaction.open_table(RECORDS).map_err(|error| read(error.into()))?;
    let mut boots = Boots::default();
    let mut before: Option<(u64, Vec<u64>)> = None;
    let mut end = |of: Option<(u64, Vec<u64>)>| -> Result<(), StoreError> {
        let Some((of, mut starts)) = of else { return Ok(()) };
        let Some(latest) = starts.pop() else { return Ok(()) };
        let row = table.get((of, latest)).map_err(|error| read(error.into()))?;
        if let Some(row) = row {
            let starts = starts.into_iter().map(Timestamp).collect();
            match BootRecord::parse(row.value()) {
                Ok(record) => boots.latest.push((record, starts)),
                // What was seen is no truth that others rest on: the head starts without it.
                Err(error) => tracing::warn!(mac = %mac(of), %error, "a boot record cannot be read"),
            }
        }
        Ok(())
    };
    for row in table.iter().map_err(|error| read(error.into()))? {
        let (of, started) = row.map_err(|error| read(error.into()))?.0.value();
        match &mut before {
            Some((known, starts)) if *known == of => starts.push(started),
            _ => end(before.replace((of, vec![started])))?,
        }
    }
    end(before)?;
    let table = transaction.open_table(PACKETS).map_err(|error| read(error.into()))?;
    for row in table.iter().map_err(|error| read(error.into()))? {
        let (of, started) = row.map_err(|error| read(error.into()))?.0.value();
        boots.with_packets.push((mac(of), Timestamp(started)));
    }
    Ok(boots)
}

pub(crate) fn write(
    transaction: &WriteTransaction,
    observations: &[Observation],
) -> Result<(), ::redb::Error> {
    if !observations.iter().any(is_ours) {
        return Ok(());
    }
    let mut records = transaction.open_table(RECORDS)?;
    let mut packets = transaction.open_table(PACKETS)?;
    for observation in observations {
        match observation {
            Observation::PutBoot(record) => {
                records.insert(key(record.mac, record.started), record.emit().as_slice())?;
            }
            Observation::RemoveBoot(mac, started) => {
                records.remove(key(*mac, *started))?;
                packets.remove(key(*mac, *started))?;
            }
            Observation::PutPackets(mac, started, octets) => {
                packets.insert(key(*mac, *started), octets.as_slice())?;
            }
            Observation::RemovePackets(mac, started) => {
                packets.remove(key(*mac, *started))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// All attempts of an interface, the oldest first.
pub(crate) fn of(database: &Database, of: Mac, path: &Path) -> Result<Vec<BootRecord>, StoreError> {
    let read = |error: ::redb::Error| failure("read", path, error);
    let transaction = database.begin_read().map_err(|error| read(error.into()))?;
    let table = transaction.open_table(RECORDS).map_err(|error| read(error.into()))?;
    let range = table.range((number(of), 0)..=(number(of), u64::MAX)).map_err(|error| read(error.into()))?;
    range.map(|row| BootRecord::parse(row.map_err(|error| read(error.into()))?.1.value())).collect()
}

/// The packets of an attempt; none if they were not kept.
pub(crate) fn packets(
    database: &Database,
    of: (Mac, Timestamp),
    path: &Path,
) -> Result<Option<Vec<u8>>, StoreError> {
    let read = |error: ::redb::Error| failure("read", path, error);
    let transaction = database.begin_read().map_err(|error| read(error.into()))?;
    let table = transaction.open_table(PACKETS).map_err(|error| read(error.into()))?;
    let row = table.get(key(of.0, of.1)).map_err(|error| read(error.into()))?;
    Ok(row.map(|row| row.value().to_vec()))
}
