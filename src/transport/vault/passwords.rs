//! Passwords: hashed with argon2id (RFC 9106), which costs whoever guesses as much memory and time as us. So that
//! nobody makes the head spend all of its own, two are worked on at a time, and few may wait.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::base::limits::{PASSWORD_MEMORY_KIB, PASSWORD_PASSES, PASSWORD_TURNS, PASSWORD_WAITERS_MAX};

/// What is hashed in the place of a user that is not there.
const NOBODYS_SALT: &[u8; 16] = b"nobody is called";

/// Hashes passwords, so many at a time. Clones share the turns.
#[derive(Clone, Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Says why no answer about a password can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("too many passwords are being checked; try again")]
    Busy,
    #[error("the password could not be hashed")]
    Failed,
}

impl Default for Passwords {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(PASSWORD_TURNS));
        Passwords { turns, places: Arc::new(Semaphore::new(PASSWORD_TURNS + PASSWORD_WAITERS_MAX)) }
    }
}

impl Passwords {
    /// Hashes a new password; the text (PHC string format) holds parameters and salt. Whoever may set one waits
    /// as long as it takes.
    ///
    /// # Errors
    /// The library fails, or the operating system has no dice.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<String, PasswordError> {
        let turn = self.turn().await?;
        self.work(turn, move || {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt).map_err(|_| PasswordError::Failed)?;
            let hash = hasher()?.hash_password_with_salt(password.as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::Failed)
        })
        .await
    }

    /// True if the password is that of this hash. Without a hash, because nobody has that name, the same work is
    /// done for nothing: how long it takes tells nobody which names there are.
    ///
    /// # Errors
    /// `Busy` if too many wait already.
    pub async fn fits(
        &self,
        known: Option<String>,
        password: Zeroizing<String>,
    ) -> Result<bool, PasswordError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = self.turn().await?;
        let fits = self.work(turn, move || {
            let hasher = hasher()?;
            match known {
                Some(hash) => Ok(hasher.verify_password(password.as_bytes(), hash.as_str()).is_ok()),
                None => {
                    let mut wasted = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
                    let done = hasher.hash_password_into(password.as_bytes(), NOBODYS_SALT, &mut *wasted);
                    done.map(|()| false).map_err(|_| PasswordError::Failed)
                }
            }
        });
        let fits = fits.await;
        drop(place);
        fits
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        Arc::clone(&self.turns).acquire_owned().await.map_err(|_| PasswordError::Failed)
    }

    /// The turn goes with the work: a client that hangs up does not let the next one in before the memory is free.
    async fn work<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.unwrap_or(Err(PasswordError::Failed))
    }
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(PASSWORD_MEMORY_KIB, PASSWORD_PASSES, 1, None);
    let params = params.map_err(|_| PasswordError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use crate::base::limits::{PASSWORD_TURNS, PASSWORD_WAITERS_MAX};
    use crate::transport::vault::{PasswordError, Passwords};

    fn text(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_and_no_other() {
        let passwords = Passwords::default();
        let hash = passwords.hash(text("correct horse battery")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=65536,t=3,p=1$"), "{hash}");
        assert_eq!(passwords.fits(Some(hash.clone()), text("correct horse battery")).await, Ok(true));
        assert_eq!(passwords.fits(Some(hash.clone()), text("correct horse batterz")).await, Ok(false));
        assert_eq!(passwords.fits(None, text("correct horse battery")).await, Ok(false));
        assert_eq!(passwords.fits(Some("no hash".to_owned()), text("x")).await, Ok(false));
        assert_ne!(passwords.hash(text("correct horse battery")).await.unwrap(), hash, "salts differ");
    }

    #[tokio::test]
    async fn no_more_work_or_wait_than_there_are_places() {
        let passwords = Passwords::default();
        let turns = Arc::clone(&passwords.turns);
        let all = turns.acquire_many(PASSWORD_TURNS.try_into().unwrap()).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..PASSWORD_TURNS + PASSWORD_WAITERS_MAX {
            let passwords = passwords.clone();
            waiting.spawn(async move { passwords.fits(None, text("x")).await });
        }
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.fits(None, text("x")).await, Err(PasswordError::Busy));
        waiting.abort_all();
        while waiting.join_next().await.is_some() {}
        drop(all);
        assert_eq!(passwords.fits(None, text("x")).await, Ok(false), "who went away left the place");
    }
}
