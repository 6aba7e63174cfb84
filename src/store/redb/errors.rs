//! What redb says of a file, in our words.

use std::path::Path;

use ::redb::DatabaseError;

use crate::store::{StoreError, io_error};

pub(crate) fn open_error(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Io {
            act: "lock",
            path: path.to_owned(),
            reason: "another process has it open; is a daemon running?".to_owned(),
        },
        other => failure("open", path, other.into()),
    }
}

pub(crate) fn failure(act: &'static str, path: &Path, error: ::redb::Error) -> StoreError {
    match error {
        ::redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Corrupt(format!("{} is no muster store: {error}", path.display()))
        }
        ::redb::Error::Io(error) => io_error(act, path, &error),
        ::redb::Error::UpgradeRequired(found) => StoreError::Schema { kind: "store file", found, known: 3 },
        ::redb::Error::Corrupted(why) => StoreError::Corrupt(format!("{}: {why}", path.display())),
        other => StoreError::Io { act, path: path.to_owned(), reason: other.to_string() },
    }
}
